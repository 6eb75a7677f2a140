"""The names in an archive, the names of its files on the disk, and the digests of these in `NAME.sha256`."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from hangar_async.filesystem import read_bounded
from hangar_async.layout.files import BLOBS, CACHE_NAME, INDEX_NAME, LIST_NAME, MARKER_NAME, SHARE
from hangar_async.oci import ALGORITHMS

#: The prefix of the names of a layout in an archive.
PREFIX = f"{CACHE_NAME}/"
_INDEX = "archive-index.json"
#: The index of the archive, its last entry.
ARCHIVE_INDEX = f"{PREFIX}{_INDEX}"
#: The one link of the format, and its target.
LINK = f"{PREFIX}{BLOBS}"
LINK_TARGET = SHARE
_BLOB = "|".join(f"{name}/[0-9a-f]{{{size}}}" for name, size in ALGORITHMS.items())
_FOLDER = "[0-9a-f]{64}"
_OWN_FILES = "|".join(map(re.escape, (LIST_NAME, MARKER_NAME, INDEX_NAME, _INDEX)))
_LAYOUT_FILES = "|".join(map(re.escape, (MARKER_NAME, INDEX_NAME)))
_FILES = re.compile(f"{PREFIX}(?:{_OWN_FILES}|{SHARE}/(?:{_BLOB})|{_FOLDER}/(?:{_LAYOUT_FILES}))")
_ALGORITHM = f"(?:/(?:{'|'.join(ALGORITHMS)}))?"
_DIRECTORIES = re.compile(f"{CACHE_NAME}(?:/{SHARE}{_ALGORITHM}|/{_FOLDER}(?:/{BLOBS}{_ALGORITHM})?)?")

#: The name of the temporary copy of standard input.
STANDARD_INPUT_FILE = "standard-input"
#: The suffix of the list of digests beside an archive.
CHECKSUMS_SUFFIX = ".sha256"
_PART = re.compile(r"(.+)\.part([0-9]{1,9})", re.DOTALL)
_PADDED_FROM = 11
_STEM = re.compile(r"(.+?)((?:\.tar)?\.[^.]+)?", re.DOTALL)
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_CHARACTERS = {escape: character for character, escape in _ESCAPES.items()}
_CHARACTER = re.compile("|".join(map(re.escape, _ESCAPES)))
_ESCAPE = re.compile(r"\\[\\nr]")
_LINE = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9a-f]{64}) [ *](?P<name>.+)")


def is_file_name(name: str) -> bool:
    """Tell whether a regular file in an archive may have this name."""
    return _FILES.fullmatch(name) is not None


def is_directory_name(name: str) -> bool:
    """Tell whether a directory in an archive may have this name."""
    return _DIRECTORIES.fullmatch(name) is not None


def told_name(path: Path) -> str:
    """Return the name of a file of an archive for messages: the copy of standard input is gone when they are read."""
    return "standard input" if path.name == STANDARD_INPUT_FILE else str(path)


def checksums_path(path: Path) -> Path:
    """Return the path of the list of digests of an archive."""
    return path.with_name(path.name + CHECKSUMS_SUFFIX)


def incomplete_path(path: Path) -> Path:
    """Return the path of an archive with too few images to replace the one at `path`: `STEM.incomplete.SUFFIX`."""
    match = _STEM.fullmatch(path.name)
    stem, suffix = (match[1], match[2] or "") if match else (path.name, "")
    return path.with_name(f"{stem}.incomplete{suffix}")


def part_paths(path: Path, count: int) -> tuple[Path, ...]:
    """Name the parts of an archive: `NAME.part0` and so on, of equal width from eleven parts on."""
    width = len(str(count - 1)) if count >= _PADDED_FROM else 1
    return tuple(path.with_name(f"{path.name}.part{number:0{width}}") for number in range(count))


def archive_path(path: Path) -> Path:
    """Return the path without `.partN`."""
    match = _PART.fullmatch(path.name)
    return path.with_name(match[1]) if match else path


def part_number(name: str, archive: str) -> int | None:
    """Return the number of the part of an archive that has a name; -1 for the archive itself, None for another file."""
    match = _PART.fullmatch(name)
    if name == archive:
        return -1
    return int(match[2]) if match and match[1] == archive else None


def encode_checksums(paths: Sequence[Path], digests: Sequence[str]) -> bytes:
    """Return the content of `NAME.sha256`, the form that `sha256sum -c` reads.

    It has a line for each file, with its name alone. A backslash or a line break is escaped as sha256sum does it.
    """
    lines = []
    for path, digest in zip(paths, digests, strict=True):
        name = _CHARACTER.sub(lambda match: _ESCAPES[match[0]], path.name)
        lines.append(f"{'' if name == path.name else chr(92)}{digest}  {name}\n")
    return os.fsencode("".join(lines))


def decode_checksums(data: bytes) -> dict[str, str]:
    """Return the digest of each name, in the order of the lines; raises ValueError."""
    digests: dict[str, str] = {}
    for line in os.fsdecode(data).split("\n"):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.removesuffix("\r"))
        if not match:
            raise ValueError(f"{line[:100]!r} is not a digest and a name")
        name = _ESCAPE.sub(lambda escape: _CHARACTERS[escape[0]], match["name"]) if match["escaped"] else match["name"]
        if name in digests or "/" in name:
            raise ValueError(f"{name[:100]!r} is there twice, or is not a plain name")
        digests[name] = match["digest"]
    return digests


#: The most bytes of a list of digests, enough for 100,000 parts.
_MAX_CHECKSUMS = 16 << 20


def read_checksums(path: Path) -> dict[str, str]:
    """Read a list of digests, empty where there is none; raises ValueError for one that is damaged or too large."""
    try:
        return decode_checksums(read_bounded(path, _MAX_CHECKSUMS))
    except FileNotFoundError:
        return {}
