"""Where the parts of an archive are, and which files beside it are not of it."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from pathlib import Path

from hangar_async.archive import checksums
from hangar_async.archive.read.volume import Part, Volume, identity
from hangar_async.disk import failing
from hangar_async.errors import ArchiveError

_NUMBERED = re.compile(r"(?P<base>.+)\.part(?P<number>[0-9]{1,9})", re.DOTALL)
_MOST_CHECKSUMS = 16 << 20


def find_volume(path: Path) -> Volume:
    """Find an archive by its name, with or without `.partN`, whether it is one file or parts, padded or not.

    `NAME.sha256` says what belongs to it; without one, the numbers and sizes of the parts must fit. Raises
    ArchiveError that names the part that is missing, or of the wrong size, or not of this archive, and StorageError.
    """
    match = _NUMBERED.fullmatch(path.name)
    base = path.with_name(match["base"]) if match and not _is_lone(path, match["base"]) else path
    found = _candidates(base)
    listed = _listed(base)
    if not found:
        with failing("read", path):
            path.stat()
        raise _wrong(path, "is not a file")
    if listed:
        names = _listed_names(base, found, list(listed))
    elif base.name in found and path == base:
        names = [base.name]
    else:
        names = _numbered_names(base, [name for name in found if name != base.name])
    if path.name in found and path.name not in names:
        raise ArchiveError(
            f"{path} is not of the archive that {base.name}{checksums.SUFFIX} lists: one of the two is of another run",
            path=str(path),
            advice="move away what is older of them",
        )
    volume = _volume(base, names, listed)
    strays = tuple(base.with_name(name) for name in found if name not in names)
    return Volume(volume.path, volume.parts, strays)


def _is_lone(path: Path, base: str) -> bool:
    """Whether what looks like a part has a list of digests of its own: then it is an archive of that name."""
    return (
        path.with_name(path.name + checksums.SUFFIX).exists() and not path.with_name(base + checksums.SUFFIX).exists()
    )


def _candidates(base: Path) -> list[str]:
    """List the archive of this name, and whatever looks like a part of it, by their numbers."""
    with failing("read", base.parent), os.scandir(base.parent) as entries:
        names = [entry.name for entry in entries if entry.is_file()]
    numbers = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if name == base.name:
            numbers[name] = -1
        elif match and match["base"] == base.name:
            numbers[name] = int(match["number"])
    return sorted(numbers, key=lambda name: (numbers[name], name))


def _listed(base: Path) -> dict[str, str]:
    path = base.with_name(base.name + checksums.SUFFIX)
    with failing("read", path):
        try:
            with path.open("rb") as file:
                data = file.read(_MOST_CHECKSUMS)
        except FileNotFoundError:
            return {}
    try:
        return checksums.decode(data)
    except ValueError as error:
        raise _wrong(path, f"is damaged: {error}") from error


def _listed_names(base: Path, found: list[str], listed: list[str]) -> list[str]:
    matches = [_NUMBERED.fullmatch(name) for name in listed]
    numbers = [int(match["number"]) for match in matches if match and match["base"] == base.name]
    if listed != [base.name] and numbers != list(range(len(listed))):
        raise _wrong(base.with_name(base.name + checksums.SUFFIX), f"lists other files than those of {base.name}")
    for name in listed:
        if name not in found:
            raise _wrong(base.with_name(name), "is missing")
    return listed


def _numbered_names(base: Path, names: list[str]) -> list[str]:
    numbers = [int(name.rpartition(".part")[2]) for name in names]
    for wanted, (number, name) in enumerate(zip(numbers, names, strict=True)):
        if number > wanted:
            missing = name.rpartition(".part")[0] + f".part{wanted:0{len(name.rpartition('.part')[2])}}"
            raise _wrong(base.with_name(missing), "is missing")
        if number < wanted:
            raise _wrong(base.with_name(name), f"is there beside {names[wanted - 1]}: one of them is of another run")
    return names


def _volume(base: Path, names: list[str], listed: dict[str, str]) -> Volume:
    parts: list[Part] = []
    start = 0
    for name in names:
        path = base.with_name(name)
        with failing("read", path):
            found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _wrong(path, "is not a file")
        parts.append(Part(path, start, found.st_size, listed.get(name), identity(found)))
        start += found.st_size
    _check_sizes(parts)
    return Volume(base, tuple(parts))


def _check_sizes(parts: list[Part]) -> None:
    *full, last = parts
    if full:
        counts = Counter(part.size for part in full)
        # Of as many of one size as of another the smaller ones were cut.
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
