"""The search for an archive by its name: the files that it consists of, all of one moment."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from hangar_async.archive.commit_record import CommitRecord, unfinished_commit
from hangar_async.archive.names import CHECKSUMS_SUFFIX, archive_path, checksums_path, part_number, read_checksums
from hangar_async.archive.read.volume import Part, Volume, first_of, identity
from hangar_async.disk import Disk, Failing
from hangar_async.errors import ArchiveError, StorageError
from hangar_async.filesystem import file_names, listed_path
from hangar_async.temporary import run_of_record

#: So often an archive that changes is looked at.
_MOST_LOOKS = 20
#: So many missing parts are counted, and so many names stand in one message.
_MOST_MISSING, _MOST_TOLD = 1_000, 20
_CHECK = "hangar-async verify NAME"


def find_volume(path: Path, check_interrupted: Callable[[], None] = lambda: None) -> Volume:
    """Find an archive by its name, with or without `.partN`: one file, or parts with or without padding.

    `NAME.sha256` lists its files. Without one, the numbers and sizes of the parts must fit. Raises ArchiveError with
    all parts that are missing, of the wrong size, or of another archive, and StorageError.

    A commit that a dead run left is finished, or else read through its record; `check_interrupted` is called on the
    way, and ends it by an exception. While another process puts an archive in place, the earlier or the new one is
    found.
    """
    earlier: Volume | str = ""
    for _ in range(_MOST_LOOKS):
        # All that two looks in a row see was there between them: a commit leaves its record as long as names change.
        try:
            volume = _look(path, check_interrupted)
        except (ArchiveError, StorageError) as error:
            if str(error) == earlier:
                raise
            earlier = str(error)
        else:
            if volume == earlier:
                return volume
            earlier = volume
    raise ArchiveError(
        f"{path} changes all the time",
        path=str(path),
        advice="wait for the end of the commands that write it, then run the same command again",
    )


def is_there(path: Path) -> bool:
    """Tell whether there is an archive of this name, a part of it, or the record of its commit; raises StorageError."""
    if not path.parent.is_dir():
        return False
    with Failing("read", path):
        if path.exists():
            return True
    base = archive_path(path)
    if any(part_number(name, path.name) is not None or run_of_record(name, base.name) for name in _names(base)):
        return True
    # Parts whose file system spells their name in another way.
    return listed_archive(path) != path


def _look(path: Path, check_interrupted: Callable[[], None]) -> Volume:
    path = listed_archive(path)
    base = archive_path(path)
    if checksums_path(path).exists() and not checksums_path(base).exists():
        base = path  # a file with its own list of digests is no part
    record = unfinished_commit(base, Disk(), check_interrupted)
    if record is not None:
        return _recorded_volume(base, record)
    numbers = _numbers(base)
    digests = {listed_path(base.with_name(name), numbers).name: digest for name, digest in _digests(base).items()}
    if not numbers:
        with Failing("read", path):
            path.stat()
        raise _wrong(path, "is not a file")
    names = _expected_names(path, base, numbers, list(digests))
    if path.name in numbers and path.name not in names:
        raise ArchiveError(
            f"{path} is not of the archive that {base.name}{CHECKSUMS_SUFFIX} lists: one of the two is of another run",
            path=str(path),
            advice="move away what is older of them",
        )
    present = [name for name in names if name in numbers]
    parts = _parts(base, present, digests)
    wrong = [(base.with_name(name), "is missing") for name in names if name not in numbers]
    wrong += _wrong_sizes(parts, last_is_there=names[-1] in numbers)
    if wrong:
        raise _wrong_parts(base, wrong)
    return Volume(base, tuple(parts), _strays(base, numbers, names))


def parts_that_are_there(path: Path) -> Volume | None:
    """Return the parts of an archive that are there, of those that its list of digests names; None where there is none.

    The volume is no archive where others are missing: only its parts can be read. Raises StorageError.
    """
    base = archive_path(listed_archive(path))
    try:
        digests = {listed_path(base.with_name(name), _names(base)).name: text for name, text in _digests(base).items()}
        present = [name for name in digests if name in _numbers(base)]
        return Volume(base, tuple(_parts(base, present, digests))) if present else None
    except ArchiveError:
        return None


def _expected_names(path: Path, base: Path, numbers: dict[str, int], listed: list[str]) -> list[str]:
    """Return the names that the files of an archive should have, in order; raises ArchiveError."""
    if listed:
        if [part_number(name, base.name) for name in listed] not in ([-1], list(range(len(listed)))):
            raise _wrong(checksums_path(base), f"lists other files than those of {base.name}")
        return listed
    if base.name in numbers and path == base:
        return [base.name]
    return _numbered_names(base, {name: number for name, number in numbers.items() if number >= 0})


def _recorded_volume(base: Path, record: CommitRecord) -> Volume:
    renames = {rename.target: rename for rename in record.renames if rename.target != checksums_path(base).name}
    names = list(renames)
    digests = {name: rename.digest for name, rename in renames.items() if rename.digest is not None}
    parts = _parts(base, names, digests, {name: base.with_name(rename.source) for name, rename in renames.items()})
    if wrong := _wrong_sizes(parts):
        raise _wrong_parts(base, wrong)
    return Volume(base, tuple(parts), _strays(base, _numbers(base), (*renames, *record.removals)))


def _strays(base: Path, found: Iterable[str], names: Iterable[str]) -> tuple[Path, ...]:
    expected = set(names)
    return tuple(base.with_name(name) for name in found if name not in expected)


def listed_archive(path: Path) -> Path:
    """Return the path of an archive, or of a part, as its directory spells it; raises StorageError."""
    names = dict.fromkeys(_names(archive_path(path)))
    path = listed_path(path, names)
    if path.name not in names:
        for name in names:
            base = archive_path(path.with_name(name))
            part = path.with_name(f"{path.name}{name.removeprefix(base.name)}")
            if part != path and listed_path(part, names).name == name:
                return base
    return path


def _names(base: Path) -> list[str]:
    """List the files in the directory of an archive; where it may not be listed, those whose names are known.

    Raises StorageError where that is not enough.
    """
    try:
        return file_names(base.parent)
    except StorageError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        known = dict.fromkeys((base.name, checksums_path(base).name, *_digests(base)))
        with Failing("read", base):
            names = [name for name in known if base.with_name(name).is_file()]
        if not names:
            raise StorageError(
                f"{error}, and there is neither {base.name} nor {checksums_path(base).name} in it",
                path=str(base),
                advice="let the directory be listed (chmod u+r): parts are found by its list, or by NAME.sha256",
            ) from error
        return names


def _numbers(base: Path) -> dict[str, int]:
    """Return the numbers of the files that look like parts of an archive; the archive itself has the number -1."""
    names = _names(base)
    numbers = [(number, name) for name in names if (number := part_number(name, base.name)) is not None]
    return {name: number for number, name in sorted(numbers)}


def _digests(base: Path) -> dict[str, str]:
    path = checksums_path(base)
    try:
        with Failing("read", path):
            return read_checksums(path)
    except ValueError as error:
        raise _wrong(path, f"is damaged: {error}") from error


def _numbered_names(base: Path, numbers: dict[str, int]) -> list[str]:
    by_number: dict[int, str] = {}
    for name, number in numbers.items():
        other = by_number.setdefault(number, name)
        if other != name:
            raise _wrong(base.with_name(name), f"is there beside {other}: one of them is of another run")
    # Numbers of one width, or none with zeros before it.
    width = min(len(name.rpartition(".part")[2]) for name in numbers)
    # Of the missing ones no more than can be told.
    most = min(max(by_number) + 1, len(by_number) + _MOST_MISSING)
    expected = sorted({*range(most), *by_number})
    return [by_number.get(number, f"{base.name}.part{number:0{width}}") for number in expected]


def _parts(
    base: Path, names: list[str], digests: Mapping[str, str], temporary: Mapping[str, Path] | None = None
) -> list[Part]:
    parts: list[Part] = []
    start = 0
    for name in names:
        path, source = base.with_name(name), (temporary or {}).get(name)
        with Failing("read", path):
            status = first_of(os.stat, source, path)
        if not stat.S_ISREG(status.st_mode):
            raise _wrong(path, "is not a file")
        parts.append(Part(path, start, status.st_size, digests.get(name), identity(status), source))
        start += status.st_size
    return parts


def _wrong_sizes(parts: list[Part], *, last_is_there: bool = True) -> list[tuple[Path, str]]:
    full, last = (parts[:-1], parts[-1:]) if last_is_there else (parts, [])
    wrong: list[tuple[Path, str]] = []
    expected = 0
    if full:
        counts = Counter(part.size for part in full)
        # If two sizes are as frequent, the smaller parts were cut.
        expected = max(counts, key=lambda size: (counts[size], size))
        wrong = [
            (part.path, f"has {part.size} bytes and the parts beside it {expected}")
            for part in full
            if part.size != expected
        ]
    for part in last:
        if full and part.size > expected:
            wrong.append((part.path, f"has {part.size} bytes, more than the {expected} of the parts before it"))
        elif not part.size:
            wrong.append((part.path, "is empty"))
    return wrong


def _wrong_parts(base: Path, wrong: list[tuple[Path, str]]) -> ArchiveError:
    """Make the error of some parts, which names all of them."""
    if len(wrong) == 1:
        [(path, problem)] = wrong
        return ArchiveError(
            f"{path} {problem}", path=str(path), advice=f"copy {path.name} here again, and check with: {_CHECK}"
        )
    missing = [path.name for path, problem in wrong if problem == "is missing"]
    texts = [f"{_joined(missing)} {'are' if len(missing) > 1 else 'is'} missing"] if missing else []
    texts += [f"{path.name} {problem}" for path, problem in wrong if problem != "is missing"]
    if len(texts) > _MOST_TOLD:
        texts = [*texts[:_MOST_TOLD], f"{len(texts) - _MOST_TOLD} more are wrong"]
    return ArchiveError(
        f"{base}: {'; '.join(texts)}",
        path=str(wrong[0][0]),
        advice=f"copy these parts here again, and check with: {_CHECK}",
        problems=tuple(f"{path} {problem}" for path, problem in wrong),
    )


def _joined(names: list[str]) -> str:
    more = [f"{len(names) - _MOST_TOLD} more"] if len(names) > _MOST_TOLD else []
    *others, last = [*names[:_MOST_TOLD], *more]
    return f"{', '.join(others)} and {last}" if others else last


def _wrong(path: Path, problem: str) -> ArchiveError:
    return ArchiveError(f"{path} {problem}", path=str(path))
