"""The page of real output: command lines, run against the embedded registry, and what each of them writes.

The page has a block of code below each line `<!-- output of NAME -->`. Times, ports and versions, which differ from run
to run, are replaced by ones that stay.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import shlex
import threading
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from hangar_async.cli import main
from hangar_async.server.app import serving
from hangar_async.testing.demo import demo_content
from hangar_async.testing.memory import MemoryContent, Pushes
from tests.cli.programs import environment

PAGE = Path(__file__).parents[2] / "docs" / "output.md"
#: The names of the two registries on the page. They are as long as their addresses, so that nothing is shifted.
SOURCE, TARGET = "registry.source", "registry.target"
_ARCHIVE = "saved-images.tar.gz"
#: The command lines in their order, by the name on the page. The lines of progress have the same order in each run only
#: where one image is moved; of the other runs the summary is shown.
RUNS = {
    "save one": "hangar-async save -f one.txt -d one",
    "save": "hangar-async save -f images.txt -j 8 2> save.log",
    "save into parts": "hangar-async save -f images.txt -j 8 --part --part-size 1M -d parts 2> save.log",
    "save that fails": "hangar-async save -f broken.txt -j 8 -d broken 2> save.log",
    "failed list": "cat save-failed.txt",
    "ls": f"hangar-async ls {_ARCHIVE}",
    "verify": f"hangar-async verify {_ARCHIVE}",
    "verify that fails": "hangar-async verify parts.tar.gz",
    "load": f"hangar-async load -s {_ARCHIVE} -d {TARGET} -j 8 2> load.log",
    "load again": f"hangar-async load -s {_ARCHIVE} -d {TARGET} -j 8 2> load.log",
    "load-validate": f"hangar-async load-validate -s {_ARCHIVE} -d {TARGET} -j 8 2> validate.log",
    "mirror": f"hangar-async mirror -f images.txt -d {TARGET}/mirror -a all --os all -j 8 2> mirror.log",
    "mirror again": f"hangar-async mirror -f images.txt -d {TARGET}/mirror -a all --os all -j 8 2> mirror.log",
    "wrong flag": "hangar-async save --quite -f images.txt",
}
_MARK = re.compile(r"^<!-- output of ([a-z -]+) -->\n(?:\n```\n.*?\n```\n)?", re.MULTILINE | re.DOTALL)
_STABLE = (
    (re.compile(r"^\d\d:\d\d:\d\d ", re.MULTILINE), "12:00:00 "),
    (re.compile(r"^time  .*$", re.MULTILINE), "time       0.3 s"),
    (re.compile(r"^why  .*\n", re.MULTILINE), ""),
    (re.compile(r"(by [a-z]+) [\d.]+$", re.MULTILINE), r"\1"),
)


def outputs(home: Path) -> dict[str, str]:
    """Run the command lines in an empty directory, and return by name what stands on a terminal then."""
    content, names = demo_content()
    target = MemoryContent()
    with _served(content) as source_address, _served(target, target) as target_address:
        addresses = {SOURCE: source_address, TARGET: target_address}
        lines = [f"{source_address}/{name}\n" for name in names]
        (home / "images.txt").write_text("".join(lines))
        (home / "one.txt").write_text(lines[3])
        missing = [f"{source_address}/demo/web:{tag}\n" for tag in ("1.4.3", "1.4.4")]
        (home / "broken.txt").write_text("".join([*lines[:2], *missing, "demo/web 1.4.2\n"]))
        found = {}
        for name, line in RUNS.items():
            if name == "verify that fails":
                _damage(home)
            found[name] = f"$ {line}\n{_run(home, line, addresses)}"
        return found


def _damage(home: Path) -> None:
    """Change a byte in one part, and remove another."""
    part = home / "parts.tar.gz.part2"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    part.with_name("parts.tar.gz.part4").unlink()


def _run(home: Path, line: str, addresses: Mapping[str, str]) -> str:
    """Run a command line in this process; return its streams and its exit status, with stable words."""
    words, _, log = line.partition(" 2> ")
    for name, address in addresses.items():
        words = words.replace(name, address)
    program, *arguments = shlex.split(words)
    out, err = io.StringIO(), io.StringIO()
    status: object = 0
    if program == "cat":
        out.write((home / arguments[0]).read_text())
    else:
        streams = redirect_stdout(out), redirect_stderr(err)
        with mock.patch.dict(os.environ, environment(home), clear=True), chdir(home), streams[0], streams[1]:
            try:
                main.run(arguments)
            except SystemExit as ended:
                status = ended.code
    text = ("" if log else err.getvalue()) + out.getvalue()
    for name, address in addresses.items():
        text = text.replace(address, name)
    text = text.replace(f"{home.resolve()}/", "/home/me/")
    for pattern, stable in _STABLE:
        text = pattern.sub(stable, text)
    return text if status == 0 else f"{text}$ echo $?\n{status}\n"


@contextmanager
def _served(content: MemoryContent, pushed: MemoryContent | None = None) -> Iterator[str]:
    """Serve contents in a thread during the block, and yield the address."""
    started: list[str] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    end = asyncio.Event()

    async def serve() -> None:
        more = [Pushes(pushed).middleware] if pushed else []
        async with serving(content, middlewares=more) as address:
            started.append(address)
            ready.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()


def with_outputs(page: str, found: Mapping[str, str]) -> str:
    """Return the text of the page with each of its blocks as the program writes now."""
    return _MARK.sub(lambda mark: f"<!-- output of {mark[1]} -->\n\n```\n{found[mark[1]]}```\n", page)


def blocks(page: str) -> list[str]:
    """Return the names of the blocks of a page."""
    return _MARK.findall(page)


def write(home: Path) -> list[Path]:
    """Write the outputs of runs in an empty directory into the page, and return the page if it changed."""
    page = PAGE.read_text()
    now = with_outputs(page, outputs(home))
    if now != page:
        PAGE.write_text(now)
    return [PAGE] * (now != page)
