"""`hangar-async demo`: a save, a mirror, a load and a serve, without a network."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hangar_async.cli import values

if TYPE_CHECKING:
    from asyncio.subprocess import Process

_LIST = "images.txt"
_ARCHIVE = "saved-images.tar.gz"
_SAVE = ("save", "-f", _LIST, "-a", "amd64,arm64,arm/v7", "-j", "4", "--part", "--part-size", "1M")
_MIRROR = ("mirror", "-f", _LIST, "-a", "all", "--os", "all", "-j", "4")
_FROM = ("-s", _ARCHIVE, "-j", "4")
#: The exit statuses of a save that has written an archive.
_WRITTEN = (0, 1)
#: Variables that name other registries, or hold credentials for them.
_EXCLUDED = (
    "SOURCE_REGISTRY",
    "SOURCE_USERNAME",
    "SOURCE_PASSWORD",
    "DEST_REGISTRY",
    "DEST_USERNAME",
    "DEST_PASSWORD",
    "CONTAINERS_REGISTRIES_CONF",
    "REGISTRY_AUTH_FILE",
    "XDG_RUNTIME_DIR",
)


def demo_command(
    context: typer.Context,
    directory: Annotated[
        str, typer.Argument(metavar="DIRECTORY", show_default=True, help="Directory of all files of the demo.")
    ] = "demo",
) -> int:
    """Save, mirror, load and serve a few images between embedded registries; needs no network."""
    flags = values.flags(context)
    return demo(Path(directory), [name for name in ("debug", "quiet") if getattr(flags, name)])


def demo(directory: Path, flags: Iterable[str] = ()) -> int:
    """Build images and serve them; save, mirror, load and serve them in processes of their own in the directory.

    `flags` names the global flags that these are started with. Returns the exit status of the first that fails, 0 when
    none does. Raises UsageError for a directory that cannot be made.
    """
    from hangar_async.cli.loop import run_until_done
    from hangar_async.disk import Disk
    from hangar_async.engine.outputs import check_directory

    directory = check_directory(directory, "the demo")
    Disk().make_directory(directory)
    programs = _Programs(directory, [f"--{flag}" for flag in flags])
    status = run_until_done(lambda: _run(directory, programs), lambda _: None, "")
    # The exit status that a shell gives to a program that a signal ended.
    return status if status >= 0 else 128 - status


async def _run(directory: Path, programs: _Programs) -> int:
    """Save from a registry, mirror and load into others, serve without any, and return the exit status."""
    from hangar_async.server.app import serving
    from hangar_async.testing.demo import demo_content
    from hangar_async.testing.memory import MemoryContent, Pushes
    from hangar_async.threads import in_thread

    content, names = await in_thread(demo_content)
    async with serving(content) as address:
        lines = "".join(f"{address}/{name}\n" for name in names)
        _write(directory / _LIST, f"# Served by the demo itself, while it runs.\n{lines}")
        _say(f"a registry with {len(names)} images is at {address}; the list is {directory / _LIST}")
        _say(f"$ cd {directory}")
        status = await programs.run(*_SAVE)
        if status in _WRITTEN:
            _say("")
            _list_files(directory)
            _list_images(directory)
        if status == 0:
            copies = MemoryContent()
            async with serving(copies, middlewares=[Pushes(copies).middleware]) as target_address:
                _say(f"\nwhere both registries can be reached, here {target_address}, nothing needs a file")
                status = await programs.run(*_MIRROR, "-d", target_address)
    if status:
        return status
    target = MemoryContent()
    async with serving(target, middlewares=[Pushes(target).middleware]) as address:
        _say(f"\non the other side an empty registry is at {address}")
        status = await programs.run("load", *_FROM, "-d", address) or await _compare(programs, address)
    if status == 0:
        _say("\nwhere there is no registry, the archive is one")
        async with programs.serving() as address:
            status = await _compare(programs, address)
    return status


async def _compare(programs: _Programs, address: str) -> int:
    return await programs.run("load-validate", *_FROM, "-d", address)


class _Programs:
    """Runs commands of this program, each in a process in one directory, and shows them."""

    def __init__(self, directory: Path, flags: Iterable[str]) -> None:
        self._directory = directory
        self._flags = tuple(flags)

    async def run(self, *words: str) -> int:
        """Run a command to its end, and return its exit status."""
        async with self._started([*words, *self._flags]) as process:
            return await process.wait()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve the archive during the block, and yield the address: HOST:PORT."""
        import asyncio

        # Without --quiet: its first line has the address. Its last lines are not shown.
        pipe = asyncio.subprocess.PIPE
        async with self._started(["serve", _ARCHIVE, "--listen", "127.0.0.1:0"], pipe) as process:
            assert process.stdout is not None  # noqa: S101
            assert process.stderr is not None  # noqa: S101
            line = (await process.stdout.readline()).decode()
            if not line:
                sys.stderr.write((await process.stderr.read()).decode())
            _say(line.rstrip())
            yield line.partition("http://")[2].partition(": ")[0]

    @asynccontextmanager
    async def _started(self, words: Sequence[str], output: int | None = None) -> AsyncIterator[Process]:
        """Start a command, which ends with the block."""
        import asyncio

        from hangar_async.cli.view.text import PROGRAM, command_text

        _say(f"$ {command_text([PROGRAM, *words])}")
        # In its own session: a Ctrl-C reaches it once, through this process.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hangar_async",
            *words,
            cwd=self._directory,
            env=_environment(self._directory),
            start_new_session=True,
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
                # It cannot end while the pipe is full.
                await process.communicate()


def _write(path: Path, text: str) -> None:
    from hangar_async.errors import StorageError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError.of(error, path) from error


def _environment(directory: Path) -> Mapping[str, str]:
    import os

    kept = {name: value for name, value in os.environ.items() if name not in _EXCLUDED}
    return {**kept, "DOCKER_CONFIG": str(directory.resolve())}


def _list_files(directory: Path) -> None:
    from hangar_async.cli.view.text import size_text

    for path in sorted(directory.glob(f"{_ARCHIVE}*")):
        _say(f"{size_text(path.stat().st_size):>10}  {path}")


def _list_images(directory: Path) -> None:
    """Show the images of `saved-images-list.json`."""
    from hangar_async.layout.files import CACHE_NAME, LIST_NAME
    from hangar_async.layout.parse import parse_list

    path = directory / CACHE_NAME / LIST_NAME
    if not path.exists():
        return
    _say(f"\n{path}:")
    for image in parse_list(path.read_bytes()).images:
        platforms = ("artifact" if one.platform.unknown else str(one.platform) for one in image.platforms)
        _say(f"  {image.name}: {', '.join(platforms)}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
