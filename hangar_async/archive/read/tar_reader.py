"""A tar stream, read member by member; nothing that it claims makes more than a few KiB be held.

Python's own reader takes as much memory as an extended header says that it has, so this is ours. It knows what the
writers of such archives use: ustar, GNU long names and numbers, and of pax the path, the link's path and the size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from hangar_async.archive import tar_header

_MOST_EXTENSION = 1 << 16
#: Headers and pax records of one tar: twice what 100,000 files need where each has times with fractions. What repeats
#: compresses so well that a file of a few KiB could else keep us busy for hours.
_MOST_HEADERS = 1 << 19
_PAX_RECORD = re.compile(rb"([0-9]{1,6}) ([^=]+)=")
_SIZE = re.compile(r"[0-9]{1,20}")
_EXTENSIONS = frozenset({tar_header.LONG_NAME, tar_header.LONG_LINK, b"x", b"g"})
_ZERO = bytes(tar_header.BLOCK)
#: Links, devices, directories, pipes: POSIX gives them no data blocks.
_WITHOUT_DATA = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})


class TarError(Exception):
    """Raised when a stream is not a whole tar; the caller knows the file and makes an ArchiveError of it."""


class Stream(Protocol):
    """Bytes in order."""

    def fill(self, buffer: memoryview) -> int:
        """Fill a buffer; it stays partly empty only at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a tar: the type flag as it stands in the header, name, size of the data, target of a link."""

    kind: bytes
    name: str
    size: int
    target: str


class TarReader:
    """Iterates over the members; `read_into` gives the data of the last one, and what is not read is passed over."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._rest = 0
        self._padding = 0
        self._headers = 0
        self._buffer = memoryview(bytearray(1 << 18))

    def __iter__(self) -> Iterator[Member]:
        extended: dict[str, str] = {}
        while (member := self._header()) is not None:
            if member.kind in _EXTENSIONS:
                said = self._said(member)
                if said.keys() & extended.keys() or (said and member.kind == b"g"):
                    # Programs differ in which of two holds, and in what holds for all that follow.
                    raise TarError("a header says what another one has said, or speaks for all members")
                extended |= said
            else:
                yield self._extended(member, extended)
                extended = {}
                self._pass_over()
        if extended:
            raise TarError("a header stands for nothing at the end of the tar")

    def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer with the member's data; it stays partly empty only at their end."""
        view = buffer[: self._rest]
        self._take(view)
        self._rest -= len(view)
        return len(view)

    def _header(self) -> Member | None:
        block = bytes(self._take(self._buffer[: tar_header.BLOCK]))
        if block == _ZERO:
            return None
        found = tar_header.parse(block)
        if found is None:
            raise TarError("what should be a tar header is none")
        self._count()
        member = Member(*found)
        if member.size and member.kind in _WITHOUT_DATA:
            raise TarError(f"{member.name[:200]!r} has data, and is of a kind that has none")
        self._expect(member.size)
        return member

    def _expect(self, size: int) -> None:
        self._rest, self._padding = size, -size % tar_header.BLOCK

    def _said(self, member: Member) -> dict[str, str]:
        """Read a header that speaks for the next member: `path`, `linkpath` and `size`, as far as it has them."""
        data = self._extension(member)
        if member.kind in (b"x", b"g"):
            return self._pax(data)
        return {"path" if member.kind == tar_header.LONG_NAME else "linkpath": _text(data)}

    def _extension(self, member: Member) -> bytes:
        if member.size > _MOST_EXTENSION:
            raise TarError(f"a header of {member.size} bytes is there, more than any name needs")
        data = bytearray(member.size)
        self.read_into(memoryview(data))
        self._pass_over()
        return bytes(data)

    def _extended(self, member: Member, extended: dict[str, str]) -> Member:
        text = extended.get("size", "")
        if text and not _SIZE.fullmatch(text):
            raise TarError(f"{member.name[:200]!r} has a size that cannot be")
        size = int(text) if text else member.size
        if size and member.kind in _WITHOUT_DATA:
            raise TarError(f"{member.name[:200]!r} has a size that cannot be")
        self._expect(size)
        return Member(member.kind, extended.get("path", member.name), size, extended.get("linkpath", member.target))

    def _pax(self, data: bytes) -> dict[str, str]:
        """Read the records of a pax header: `LENGTH KEY=VALUE` and a line break, where LENGTH counts all of it."""
        found: dict[str, str] = {}
        at = 0
        while at < len(data):
            self._count()
            match = _PAX_RECORD.match(data, at)
            end = at + int(match[1]) if match else 0
            if match is None or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
                raise TarError("a pax header is damaged")
            key, value = match[2].decode("utf-8", "replace"), _text(data[match.end() : end - 1])
            if key.startswith("GNU.sparse"):
                raise TarError("a sparse file is there, a kind that no archive of images has")
            if key in ("path", "linkpath", "size"):
                found[key] = value
            at = end
        return found

    def _count(self) -> None:
        self._headers += 1
        if self._headers > _MOST_HEADERS:
            raise TarError(f"more than {_MOST_HEADERS:,} headers are in it")

    def _pass_over(self) -> None:
        while self._rest:
            self.read_into(self._buffer)
        if self._padding:
            self._take(self._buffer[: self._padding])
            self._padding = 0

    def _take(self, view: memoryview) -> memoryview:
        if self._stream.fill(view) < len(view):
            raise TarError("the tar ends too early")
        return view


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
