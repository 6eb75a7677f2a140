"""The command lines of the pages run, and the reader on the page of the format works."""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from hangar_async.cli.argv import normalise
from hangar_async.cli.main import _grammars, make_app
from tests.cli.shelf import Shelf

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^    (?:.*\| |\.venv/bin/)?(hangar-async [a-z][^\[\n]*)$", re.MULTILINE)


def lines() -> list[tuple[str, str]]:
    found = [(page.name, line) for page in PAGES for line in COMMAND.findall(page.read_text())]
    return [(name, re.split(" #| [|][|]| >", line)[0].strip()) for name, line in found]


@pytest.mark.parametrize(("page", "line"), lines())
def test_every_command_line_can_be_parsed(page: str, line: str) -> None:
    program: Any = typer.main.get_command(make_app())
    _, words = normalise(shlex.split(line)[1:], _grammars(program))
    assert words, f"{page}: {line}"
    with program.commands[words[0]].make_context(words[0], words[1:]) as context:
        assert context.params


def test_there_is_a_page_for_each_command() -> None:
    program: Any = typer.main.get_command(make_app())
    names = {name for name in program.commands if (ROOT / "docs" / f"{name}.md").is_file()}
    assert names == set(program.commands)
    table = (ROOT / "README.md").read_text()
    for name in names:
        assert f"| [`hangar-async {name}`](docs/{name}.md) |" in table


def test_pages_name_each_flag_with_its_default() -> None:
    program: Any = typer.main.get_command(make_app())
    for name, command in program.commands.items():
        page = (ROOT / "docs" / f"{name}.md").read_text()
        for parameter in command.params:
            if parameter.param_type_name == "option" and "--help" not in parameter.opts:
                [row] = re.findall(rf"^\| `{re.escape(', '.join(parameter.opts))}` \| (.*?) \|", page, re.MULTILINE)
                default = parameter.default[0] if isinstance(parameter.default, list) else parameter.default
                if parameter.required:
                    assert row == "required"
                elif parameter.is_flag:
                    assert row == ("`true`" if default else "off")
                elif default is not None:
                    assert row == f"`{default}`"


@pytest.mark.parametrize("name", ["plain.tar.gz", "plain.tar.zstd", "split.tar.gz"])
def test_the_reader_of_the_page_reads_what_we_write(shelf: Shelf, tmp_path: Path, name: str) -> None:
    script = tmp_path / "reader.py"
    page = (ROOT / "docs" / "archive-format.md").read_text()
    script.write_text(page.partition("```python\n")[2].partition("```")[0])

    def read(*arguments: str) -> bytes:
        return subprocess.run([sys.executable, str(script), *arguments], stdout=subprocess.PIPE, check=True).stdout

    cache = shelf.home / "saved-image-cache"
    files = {
        f"saved-image-cache/{path.relative_to(cache)}": path.stat().st_size
        for path in cache.rglob("[!.]*")
        if path.is_file()
    }
    listed = [line.split(" ", 1) for line in read(str(shelf.home / name)).decode().splitlines()]
    assert {entry: int(size) for size, entry in listed} == files
    largest = max(files, key=lambda entry: files[entry]).rpartition("/")[2]
    assert hashlib.sha256(read(str(shelf.home / name), largest)).hexdigest() == largest
