"""The search for the parts of an archive, and for other files that look like parts."""

import os
import stat
from collections import Counter
from pathlib import Path

from hangar_async.archive.names import CHECKSUMS_SUFFIX, archive_path, checksums_path, decode_checksums, part_number
from hangar_async.archive.read.volume import Part, Volume, identity
from hangar_async.disk import failing
from hangar_async.errors import ArchiveError

_MAX_CHECKSUMS = 16 << 20


def find_volume(path: Path) -> Volume:
    """Find an archive by its name, with or without `.partN`: one file, or parts with or without padding.

    `NAME.sha256` lists its files. Without one, the numbers and sizes of the parts must fit. Raises
    ArchiveError with the part that is missing, of the wrong size, or of another archive, and StorageError.
    """
    base = archive_path(path)
    if checksums_path(path).exists() and not checksums_path(base).exists():
        base = path  # a file with its own list of digests is no part
    numbers = _numbers(base)
    digests = _digests(base)
    if not numbers:
        with failing("read", path):
            path.stat()
        raise _wrong(path, "is not a file")
    if digests:
        names = _listed_names(base, numbers, list(digests))
    elif base.name in numbers and path == base:
        names = [base.name]
    else:
        names = _numbered_names(base, {name: number for name, number in numbers.items() if number >= 0})
    if path.name in numbers and path.name not in names:
        raise ArchiveError(
            f"{path} is not of the archive that {base.name}{CHECKSUMS_SUFFIX} lists: one of the two is of another run",
            path=str(path),
            advice="move away what is older of them",
        )
    parts = _parts(base, names, digests)
    _check_sizes(parts)
    return Volume(base, tuple(parts), tuple(base.with_name(name) for name in numbers if name not in names))


def _numbers(base: Path) -> dict[str, int]:
    """Return the numbers of the files that look like parts of an archive; the archive itself has the number -1."""
    with failing("read", base.parent), os.scandir(base.parent) as entries:
        names = [entry.name for entry in entries if entry.is_file()]
    numbers = [(number, name) for name in names if (number := part_number(name, base.name)) is not None]
    return {name: number for number, name in sorted(numbers)}


def _digests(base: Path) -> dict[str, str]:
    path = checksums_path(base)
    with failing("read", path):
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_CHECKSUMS)
        except FileNotFoundError:
            return {}
    try:
        return decode_checksums(data)
    except ValueError as error:
        raise _wrong(path, f"is damaged: {error}") from error


def _listed_names(base: Path, numbers: dict[str, int], listed: list[str]) -> list[str]:
    if [part_number(name, base.name) for name in listed] not in ([-1], list(range(len(listed)))):
        raise _wrong(checksums_path(base), f"lists other files than those of {base.name}")
    for name in listed:
        if name not in numbers:
            raise _wrong(base.with_name(name), "is missing")
    return listed


def _numbered_names(base: Path, numbers: dict[str, int]) -> list[str]:
    names = list(numbers)
    for expected, (name, number) in enumerate(numbers.items()):
        if number > expected:
            start, _, digits = name.rpartition(".part")
            raise _wrong(base.with_name(f"{start}.part{expected:0{len(digits)}}"), "is missing")
        if number < expected:
            raise _wrong(base.with_name(name), f"is there beside {names[expected - 1]}: one of them is of another run")
    return names


def _parts(base: Path, names: list[str], digests: dict[str, str]) -> list[Part]:
    parts: list[Part] = []
    start = 0
    for name in names:
        path = base.with_name(name)
        with failing("read", path):
            status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _wrong(path, "is not a file")
        parts.append(Part(path, start, status.st_size, digests.get(name), identity(status)))
        start += status.st_size
    return parts


def _check_sizes(parts: list[Part]) -> None:
    *full, last = parts
    if full:
        counts = Counter(part.size for part in full)
        # Where two sizes are as frequent, the smaller parts were cut.
        expected = max(counts, key=lambda size: (counts[size], size))
        for part in full:
            if part.size != expected:
                raise _wrong(part.path, f"has {part.size} bytes and the parts beside it {expected}")
        if last.size > expected:
            raise _wrong(last.path, f"has {last.size} bytes, more than the {expected} of the parts before it")
    if not last.size:
        raise _wrong(last.path, "is empty")


def _wrong(path: Path, problem: str) -> ArchiveError:
    return ArchiveError(f"{path} {problem}", path=str(path))
