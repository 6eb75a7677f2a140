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
from tests.pages import output
from tests.pages.flags import EVERY, marks, program_commands, with_tables

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


def test_the_tables_of_flags_are_what_the_program_says() -> None:
    commands = program_commands()
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text()
        assert with_tables(text, commands) == text, f"{page.name}: make pages"
        assert marks(text) == [page.stem] * (page.stem in commands) + [EVERY] * (page.stem == "global-flags")


def test_a_table_of_flags_keeps_the_words_of_the_page_and_forgets_flags_that_are_gone() -> None:
    old = "| `--password-stdin` | on | Old.<br>Ours. |\n| `--gone` | off | Old.<br>Too. |\n"
    page = f"<!-- flags of login -->\n{old}\nEnd."
    assert with_tables(page, program_commands()) == (
        "<!-- flags of login -->\n\n| flag | default | meaning |\n| --- | --- | --- |\n"
        "| `REGISTRY` | required | HOST[:PORT]; docker.io is Docker Hub. |\n"
        "| `-u, --username NAME` | asked for on a terminal | User name. |\n"
        "| `--password-stdin` | off | Read the password from standard input.<br>Ours. |\n\nEnd."
    )


def test_the_page_of_output_shows_what_the_program_writes(tmp_path: Path) -> None:
    page = output.PAGE.read_text()
    assert sorted(output.blocks(page)) == sorted(output.RUNS)
    assert output.with_outputs(page, output.outputs(tmp_path)) == page, "make pages"


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
