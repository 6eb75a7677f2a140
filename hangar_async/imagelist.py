"""Image lists: lines of text to entries, with the number of the line in each message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hangar_async.config.shard import Shard
from hangar_async.errors import InvalidValue, UsageError
from hangar_async.filesystem import read_bounded
from hangar_async.oci import Reference

_COMMENTS = ("#", "//")
#: The longest line; a longer one shows that the file is no image list.
_LONGEST_LINE = 4096
#: The most bytes of a list, and the most lines that name an image, rightly or not.
MAX_LIST = 32 << 20
MAX_LINES = 200_000
#: A comment at the end of a line; no name has white space in it.
_TRAILING_COMMENT = re.compile(r"\s(?:#|//)")
#: An image as YAML, JSON, a Dockerfile or a command names it.
_DRESSED = re.compile(
    r"""(?:[-*]\s+)?(?:["']?\w*image["']?\s*:\s*|["']?[\w.-]+["']?\s*:\s+|FROM\s+|\w+\s+pull\s+)?"""
    r"""["'`<(\[{]*([^\s"'`,;<>()\[\]{}]+)["'`>)\]}]*[,;]?""",
    re.IGNORECASE,
)
#: The encodings of lists that are not UTF-8, by the first bytes: with a byte order mark, and without.
_ENCODINGS = {
    re.compile(rb"\xff\xfe\0\0|\0\0\xfe\xff", re.DOTALL): "utf-32",
    re.compile(rb"(?:\xff\xfe|\xfe\xff).*", re.DOTALL): "utf-16",
    re.compile(rb"[^\0]\0\0\0", re.DOTALL): "utf-32-le",
    re.compile(rb"\0\0\0[^\0]", re.DOTALL): "utf-32-be",
    re.compile(rb"[^\0]\0.*", re.DOTALL): "utf-16-le",
    re.compile(rb"\0[^\0].*", re.DOTALL): "utf-16-be",
}
#: A byte that is not UTF-8, as `decode` keeps it.
_UNDECODED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a list: its reference, and the first line that names it (`text` as written, without comment).

    `earlier` is the entry of an earlier line with the same name and tag, and another digest or none.
    """

    reference: Reference
    line: int
    text: str
    earlier: Entry | None = None

    @property
    def contradicts(self) -> bool:
        """True when this and the earlier entry name two digests, of which only one can have the name."""
        return None not in (self.earlier and self.earlier.reference.digest, self.reference.digest)


@dataclass(frozen=True, slots=True)
class InvalidLine:
    """A line that is not a reference, and the reason."""

    name: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.name}:{self.line}: {self.why}"

    @property
    def comment(self) -> str:
        """The line as a comment, so that a list with it stays one to be read."""
        return f"# {' '.join(str(self).split())}"


def as_comment(text: str) -> str:
    """Write a text of any origin as a comment of a list: one line of printable characters."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in f"# {' '.join(text.split())}")


@dataclass(frozen=True, slots=True)
class ImageList:
    """An image list: entries in order, each image once; invalid lines; the number of lines that repeat an image."""

    name: str
    entries: tuple[Entry, ...]
    invalid: tuple[InvalidLine, ...] = ()
    duplicates: int = 0

    def part(self, shard: Shard | None) -> ImageList:
        """Return the part of a shard; lines without an image, and repeated ones, count for the first one."""
        if shard is None:
            return self
        entries = tuple(entry for entry in self.entries if entry.reference.name in shard)
        is_first = shard.number == 0
        return ImageList(self.name, entries, self.invalid if is_first else (), self.duplicates if is_first else 0)


def parse(lines: Iterable[str], name: str = "image list", registry: str | None = None) -> ImageList:
    """Read a list, putting every image on `registry` where one is given.

    Blank lines are skipped, and comments: from `#` or `//` on, at the start of a line or after white space. A line that
    is no reference becomes an InvalidLine. Raises UsageError for more lines than any list has.
    """
    entries: dict[Reference, Entry] = {}
    names: dict[str, Entry] = {}
    invalid: list[InvalidLine] = []
    duplicates = 0
    for number, line in enumerate(lines, 1):
        text, _ = split_comment(line)
        if not text:
            continue
        if len(entries) + len(invalid) == MAX_LINES:
            raise UsageError(f"{name}:{number}: a list may name {MAX_LINES:,} images; split it")
        try:
            reference = parse_line(text, registry)
        except InvalidValue as error:
            invalid.append(InvalidLine(name, number, str(error)))
            continue
        if reference in entries:
            duplicates += 1
            continue
        first = names.get(reference.cache_name)
        entry = Entry(reference, number, text, first)
        entries[reference] = entry
        if first is None or (first.reference.digest is None and reference.digest is not None):
            names[reference.cache_name] = entry
    return ImageList(name, tuple(entries.values()), tuple(invalid), duplicates)


def split_comment(line: str) -> tuple[str, str]:
    """Split a line, without the white space around it, into its text and its comment, "" for none."""
    whole = line.strip().removeprefix("\ufeff").strip()
    text = "" if whole.startswith(_COMMENTS) else _TRAILING_COMMENT.split(whole, 1)[0].rstrip()
    return text, whole[len(text) :]


def decode(content: bytes) -> list[str]:
    """Return the lines of a list: UTF-8, or UTF-16 as PowerShell writes it, or UTF-32.

    Without a byte order mark, they are told apart by the zeros of the first character. A byte that is not UTF-8 is kept
    as a surrogate, so that only its line is invalid.
    """
    for start, encoding in _ENCODINGS.items():
        if start.fullmatch(content[:4]):
            return content.decode(encoding, "replace").splitlines()
    return content.decode("utf-8", "surrogateescape").splitlines()


def read(
    images: Path | Sequence[str], name: str = "", registry: str | None = None, shard: Shard | None = None
) -> ImageList:
    """Read a list, or a shard of it, from a file or from its lines.

    Raises UsageError when it cannot be read or names no image.
    """
    lines = read_lines(images)
    image_list = parse(lines, name or list_name(images), registry)
    check_names_images(image_list.name, image_list.entries, image_list.invalid, lines)
    return image_list.part(shard)


def list_name(images: Path | Sequence[str]) -> str:
    """Return the name of a list in messages."""
    return str(images) if isinstance(images, Path) else "image list"


def read_lines(images: Path | Sequence[str]) -> Sequence[str]:
    """Read the lines of a list from a file, or return those that are given; raises UsageError."""
    if not isinstance(images, Path):
        return [images] if isinstance(images, str) else images
    try:
        return decode(read_bounded(images, MAX_LIST))
    except OSError as error:
        raise UsageError(f"cannot read the image list {images}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"cannot read the image list {images}: {error}") from error


def check_names_images(
    name: str, entries: Sequence[object], invalid: Sequence[InvalidLine], lines: Sequence[str]
) -> None:
    """Raise UsageError, with the reason, for a list that names no image."""
    if not entries:
        empty = "all of its lines are comments or blank" if any(lines) else "it is empty"
        wrong = "its one line is" if len(invalid) == 1 else f"all {len(invalid):,} lines are"
        reason = f"{wrong} invalid; {invalid[0]}" if invalid else empty
        raise UsageError(f"{name} names no image: {reason}")


def parse_line(text: str, registry: str | None = None) -> Reference:
    """Read a line without its comment, an image, and put it on `registry` where one is given; raises InvalidValue."""
    check_text(text)
    try:
        reference = _single(text)
    except InvalidValue as error:
        raise explained(text, error) from None
    return reference.on(registry) if registry else reference


def check_text(text: str) -> None:
    """Raise InvalidValue for a line that no list has."""
    if len(text) > _LONGEST_LINE:
        raise InvalidValue(f"{text[:40]!r}... is longer than {_LONGEST_LINE} characters: this is no image list")
    if byte := _UNDECODED.search(text):
        place = f"the byte 0x{ord(byte[0]) & 0xFF:02x} after {text[: byte.start()][-40:]!r}"
        raise InvalidValue(f"{place} is not UTF-8: save the list as text in UTF-8")


def explained(text: str, error: InvalidValue) -> InvalidValue:
    """Return the error of a wrong line: the image in a line of YAML, JSON or alike is named, else it is `error`."""
    plain = _plain_name(text)
    return InvalidValue(f"{text[:140]!r} is more than the name of an image: write {plain}") if plain else error


def _single(text: str) -> Reference:
    if len(text.split()) > 1:
        raise InvalidValue(f"{text[:140]!r} has white space: write one image a line")
    return Reference.parse(text)


def _plain_name(text: str) -> str:
    """Take the name of an image out of a line of YAML, JSON or alike; "" where there is none."""
    if match := _DRESSED.fullmatch(text):
        with suppress(InvalidValue):
            Reference.parse(match[1])
            return match[1]
    return ""
