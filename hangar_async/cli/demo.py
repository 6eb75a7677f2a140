"""`hangar-async demo`: the main job, shown without a network."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from hangar_async.cli.argv import GlobalFlags
from hangar_async.errors import UsageError

_LIST = "images.txt"
_ARCHIVE = "saved-images.tar.gz"
_SAVE = ("save", "-f", _LIST, "-a", "amd64,arm64,arm/v7", "-j", "4", "--part", "--part-size", "1M")
#: The exit statuses with which there is an archive.
_WRITTEN = (0, 1)
#: These would send the demo elsewhere, or give it credentials that are for others.
_LEFT_OUT = ("SOURCE_REGISTRY", "SOURCE_USERNAME", "SOURCE_PASSWORD", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR")


def demo_command(
    context: typer.Context,
    directory: Annotated[
        str, typer.Argument(metavar="DIRECTORY", show_default=True, help="Where all of it is put.")
    ] = "demo",
) -> int:
    """Save a few images from an embedded registry into parts, and list what came out; needs no network."""
    flags: GlobalFlags = context.obj
    return demo(Path(directory), [name for name in ("debug", "quiet") if getattr(flags, name)])


def demo(directory: Path, flags: Iterable[str] = ()) -> int:
    """Build images, serve them, save them in a process of its own in the directory; returns its exit status.

    `flags` names the global flags that it is started with. Raises UsageError for a directory that cannot be had.
    """
    from hangar_async.cli.loop import run_until_done

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot use the directory {directory}: {error.strerror}") from error
    words = [*_SAVE, *(f"--{flag}" for flag in flags)]
    status = run_until_done(lambda: _run(directory, words), lambda _: None, "")
    if status in _WRITTEN:
        _say("")
        _list_files(directory)
        _list_images(directory)
    # A program that a signal ended, as a shell tells it.
    return status if status >= 0 else 128 - status


async def _run(directory: Path, words: list[str]) -> int:
    """Serve the images while the program saves them, and return its exit status."""
    import asyncio

    from hangar_async.blocking import in_thread
    from hangar_async.cli.text import PROGRAM, command_text
    from hangar_async.server.app import serving
    from hangar_async.server.demo import demo_content

    content, names = await in_thread(demo_content)
    async with serving(content) as address:
        lines = "".join(f"{address}/{name}\n" for name in names)
        _write(directory / _LIST, f"# Served by the demo itself, while it runs.\n{lines}")
        _say(f"a registry with {len(names)} images is at {address}; the list is {directory / _LIST}")
        _say(f"$ cd {command_text([str(directory)])} && {command_text([PROGRAM, *words])}")
        # In a session of its own: a Ctrl-C reaches it once, through us.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hangar_async",
            *words,
            cwd=directory,
            env=_environment(directory),
            start_new_session=True,
        )
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()


def _write(path: Path, text: str) -> None:
    from hangar_async.errors import StorageError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError.of(error, path) from error


def _environment(directory: Path) -> Mapping[str, str]:
    import os

    kept = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    return {**kept, "DOCKER_CONFIG": str(directory.resolve())}


def _list_files(directory: Path) -> None:
    from hangar_async.cli.text import size_text

    for path in sorted(directory.glob(f"{_ARCHIVE}*")):
        _say(f"{size_text(path.stat().st_size):>10}  {path}")


def _list_images(directory: Path) -> None:
    """Show what `saved-images-list.json` says."""
    from hangar_async.oci.catalog import parse_list
    from hangar_async.oci.layout import CACHE_NAME, LIST_NAME

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
