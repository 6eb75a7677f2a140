"""The outputs of a run: the checks before any work starts, temporary directories, and the list of failed images."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hangar_async import imagelist
from hangar_async.archive.names import CHECKSUMS_SUFFIX, archive_path, incomplete_path
from hangar_async.disk import Disk
from hangar_async.errors import HangarError, StorageError, UsageError
from hangar_async.filesystem import (
    check_made_directory,
    check_parent,
    check_rights,
    fitting_part,
    largest_file,
    real_path,
)
from hangar_async.store.directory import check_aside
from hangar_async.system import system_advice, system_reason
from hangar_async.temporary import LONGEST_ADDITION, TemporaryFiles, write_output
from hangar_async.threads import in_thread

if TYPE_CHECKING:
    from hangar_async.config.options import SaveOptions
    from hangar_async.config.output import OutputSettings

#: The first bytes of a report, and of a list of failed images its first line.
_REPORT = b'{"version":'
_FAILED = "# hangar-async failed images"
_DEFAULT_LIST = re.compile(r"(save|sync|load|load-validate|mirror|mirror-validate|report)-failed\.txt")


def tell_remarks(disk: Disk, notice: Callable[[str], None]) -> None:
    """Tell what the file systems of a run could not do, each once for its disk."""
    for text in disk.remarks():
        notice(text)


@contextmanager
def told_disk(notice: Callable[[str], None]) -> Iterator[Disk]:
    """Give the disk of a run; at the end of the block its remarks are told."""
    disk = Disk()
    try:
        yield disk
    finally:
        tell_remarks(disk, notice)


@contextmanager
def _checking() -> Iterator[None]:
    """Make a check raise UsageError for a path that the system refuses."""
    try:
        yield
    except OSError as error:
        advice = system_advice(error) or "correct the permissions, or choose another path"
        raise UsageError(
            f"cannot use {error.filename or 'the working directory'}: {system_reason(error)}", advice=advice
        ) from error


@_checking()
def check_destination(options: SaveOptions) -> OutputSettings:
    """Return the output with the path that it is written to; raises UsageError when it cannot be made there.

    Synchronous, for a thread, as all checks here are.
    """
    output = check_output(options.output, [options.images], options.failed)
    if options.cache is not None:
        check_directory(options.cache, "the cache")
    if output.format == "dir" and options.cache is not None:
        cache, target = (Path(os.path.realpath(path)) for path in (options.cache, output.target))
        if target == cache or target in cache.parents or cache in target.parents:
            raise UsageError(
                f"the destination {output.target} overlaps the cache {options.cache}: choose another name (-d)"
            )
        check_aside(cache)
    return output


@_checking()
def check_output(output: OutputSettings, inputs: Iterable[object], *others: Path | None) -> OutputSettings:
    """Return an output with the path that it is written to.

    Raises UsageError when it cannot be made there, or names an input or one of the other outputs.
    """
    if output.is_stream:
        if sys.stdout.isatty():
            raise UsageError("standard output is a terminal (-d -): send it through a pipe, or into a file")
        check_outputs(others, inputs)
        return output
    directory, target = output.format == "dir", real_path(output.target)
    targets = [target] if directory or not target.name else [target, incomplete_path(target)]
    check_outputs([*targets, *others], inputs)
    for path in targets:
        check_target(path, directory=directory)
    output = replace(output, target=target)
    check_part_size(output)
    if output.checksum == "none" and archive_path(output.target) != output.target:
        raise UsageError(
            f"{output.target} is known from a part of another archive by its file of checksums alone: "
            "write another name (-d), or leave out --checksum"
        )
    return output


@_checking()
def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[object]) -> None:
    """Raise UsageError when an output names an input or another output, under any spelling.

    Inputs that are no paths are ignored. The parts of an archive and its list of digests go by its name.
    """
    taken = [path for path in inputs if isinstance(path, Path)]
    for output in outputs:
        if output is None:
            continue
        for path in taken:
            if _is_same(output, path):
                raise UsageError(f"{output} would replace {path}, which this command uses: write another name")
        taken.append(output)


def _is_same(path: Path, other: Path) -> bool:
    if _whole(path) == _whole(other):
        return True
    try:
        # A file system may ignore case, or have one file under two paths.
        return path.samefile(other)
    except OSError:
        return False


def _whole(path: Path) -> Path:
    path = Path(os.path.realpath(path))
    name = path.name.removesuffix(CHECKSUMS_SUFFIX)
    return archive_path(path.with_name(name)) if name else path


def check_part_size(output: OutputSettings) -> None:
    """Raise UsageError for parts that are larger than a file may be on their file system."""
    largest = largest_file(output.target.parent)
    if largest is not None and output.part_size is not None and output.part_size > largest:
        raise UsageError(
            f"a file at {output.target.parent.absolute()} has at most {largest:,} bytes, and a part of "
            f"{output.part_size:,} would be larger: write --part-size {fitting_part(largest)}"
        )


@_checking()
def check_directory(path: Path, flag: str, *, is_made: bool = True) -> Path:
    """Return the path of a directory that files are written to; one that `is_made` need not be there yet.

    Raises UsageError where it cannot be written or made.
    """
    path = real_path(path)
    if is_made:
        check_made_directory(path, flag)
    else:
        check_rights(path, flag)
    return path


@_checking()
def check_file(path: Path, role: str) -> None:
    """Raise UsageError when a file in a directory that is made when it is needed cannot be written."""
    path = real_path(path)
    _check_file(path, role, "a file")
    check_made_directory(path.parent, f"for {role}")


@_checking()
def check_target(target: Path, *, directory: bool, flag: str = "-d") -> Path:
    """Return the path to which an output is written, that of its name or, where this is a link, the one it leads to.

    Raises UsageError when there can be no new file, or directory, of the name, which `flag` gives.
    """
    target = real_path(target)
    check_parent(target, flag)
    if not target.name:
        raise UsageError(f"{str(target)!r} names nothing that could be made ({flag}): write a name")
    if not directory:
        _check_file(target, "the destination", flag)
        _check_name(target, flag)
        return target
    if target.exists() and not target.is_dir():
        raise UsageError(
            f"the destination {target} exists and is no directory: remove it, or choose another name ({flag})"
        )
    if target.is_dir() and _is_filled(target):
        raise UsageError(
            f"the destination {target} exists and is not empty: remove it, or choose another name ({flag})"
        )
    _check_name(target, flag)
    return target


def _check_name(path: Path, flag: str) -> None:
    """Raise UsageError for a name that leaves no room for the temporary names beside it."""
    length, longest = len(os.fsencode(path.name)), os.pathconf(path.parent, "PC_NAME_MAX") - LONGEST_ADDITION
    if length > longest:
        raise UsageError(
            f"the name {path.name} has {length} bytes, and at most {longest} leave room for temporary names beside it: "
            f"write a shorter name ({flag})"
        )


def _is_filled(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return any(True for _ in entries)


@asynccontextmanager
async def temporary_directory(parent: Path, name: str, disk: Disk) -> AsyncIterator[Path]:
    """Make the directory `.NAME.RUN.1.tmp` for the block, which is removed at its end; raises StorageError.

    A later one of this name in `parent` removes those of processes that died.
    """
    with ExitStack() as made:

        def make() -> Path:
            files = TemporaryFiles(parent / name, disk)
            # On the stack before the thread ends: a cancellation here must remove it too.
            made.callback(files.close)
            directory = files.new()
            disk.make_directory(directory, 0o700)
            return directory

        try:
            yield await in_thread(make)
        finally:
            await in_thread(made.close)


@_checking()
def check_output_file(path: Path, role: str, flag: str) -> Path:
    """Return the path to which a file is written, the one that a link leads to; raises UsageError."""
    path = real_path(path)
    check_parent(path, flag)
    _check_file(path, role, flag)
    _check_name(path, flag)
    return path


def _check_file(path: Path, role: str, flag: str) -> None:
    """Raise UsageError for a path of anything but a regular file."""
    if path.is_dir():
        raise UsageError(f"{role} {path} is a directory: name a file ({flag})")
    if path.exists() and not path.is_file():
        raise UsageError(f"{role} {path} is no regular file: name one ({flag})")


@_checking()
def check_failed_list(path: Path | None, flag: str = "-o") -> Path | None:
    """Return the path to which the list of failed images is written, the one that a link leads to.

    Raises UsageError when it cannot be written, or another file has its name.
    """
    if path is None:
        return None
    path = check_output_file(path, "the list of failed images", flag)
    if path.exists() and not _is_failed_list(path):
        raise UsageError(f"{path} is no list of failed images and would be lost: write another name ({flag})")
    return path


@_checking()
def check_report(path: Path, used: Sequence[Path], flag: str = "--report") -> Path:
    """Return the path to which a report is written, the one that a link leads to.

    Raises UsageError when it cannot be written, another file has its name, or it would lie among the files that are
    `used`: these are the inputs and the other outputs.
    """
    path = check_output_file(path, "the report", flag)
    check_outputs([path], used)
    parents = Path(os.path.realpath(path)).parents
    for directory in used:
        if Path(os.path.realpath(directory)) in parents:
            raise UsageError(f"{path} would lie in {directory}, which this command uses: write another name ({flag})")
    if path.exists() and path.stat().st_size and not _is_report(path):
        raise UsageError(f"{path} is no report and would be lost: write another name ({flag})")
    return path


def _is_report(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_REPORT)) == _REPORT


def check_state(path: Path | None) -> Path | None:
    """Return the path of a state, the one that a link leads to; raises UsageError where there can be no such file."""
    return None if path is None else check_output_file(path, "the state", "--state")


def state_files(path: Path | None) -> list[Path]:
    """Name the files of a state: itself, and beside it its lock and the journal of SQLite."""
    return [] if path is None else [path, *(path.with_name(path.name + end) for end in (".lock", "-journal"))]


def _is_failed_list(path: Path) -> bool:
    """Tell a list of failed images by its first line; without it, a default name and valid lines are needed."""
    lines = path.read_bytes().decode(errors="replace").splitlines()
    if lines[:1] == [_FAILED]:
        return True
    return bool(_DEFAULT_LIST.fullmatch(path.name)) and not imagelist.parse(lines).invalid


def failed_lines(outcomes: Iterable[tuple[str, HangarError | None]]) -> Iterator[str]:
    """Make the lines of the failed ones among images, pairs of a line and an error, each reason as a comment before."""
    told = ""
    for line, error in outcomes:
        if error is not None:
            comment = imagelist.as_comment(f"{error.reason}: {error}{f'; {error.advice}' if error.advice else ''}")
            if comment != told:
                yield comment
            told = comment
            yield line


async def write_failed_list(
    path: Path | None, lines: Iterable[str], notice: Callable[[str], None], disk: Disk
) -> Path | None:
    """Write the lines of failed images, or remove the list when there are none; a failure is a notice.

    Returns the path of a list that was written.
    """
    content = "".join(f"{line}\n" for line in lines)
    if path is None:
        return None
    try:
        if content:
            text = f"{_FAILED}\n{content}"
            await in_thread(write_output, path, text.encode(errors="surrogateescape"), disk)
        else:
            await in_thread(disk.remove, path)
    except StorageError as error:
        notice(f"the list of failed images is not as it should be: {error}")
        return None
    return path if content else None
