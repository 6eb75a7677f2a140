"""A tar stream, read member by member, in a few KiB of memory whatever the headers claim.

The reader of Python takes as much memory as an extended header claims. This one reads the forms that writers of such
archives use: ustar, GNU long names and numbers, and the path, link path and size of pax.
"""

import re
from collections.abc import Iterator

from hangar_async.archive import tar_header
from hangar_async.archive.read.decode import DECODE_SIZE
from hangar_async.archive.tar_header import Member
from hangar_async.oci import Reader

_MAX_EXTENSION = 1 << 16
_PAX_RECORD = re.compile(rb"([0-9]{1,6}) ([^=]+)=")
_SIZE = re.compile(r"[0-9]{1,20}")
_PAX = frozenset({b"x", b"g"})
_EXTENSIONS = _PAX | {tar_header.LONG_NAME, tar_header.LONG_LINK}
_ZERO = bytes(tar_header.BLOCK)
#: Links, devices, directories, pipes: POSIX gives them no data blocks.
_WITHOUT_DATA = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})


class TarError(Exception):
    """Raised when a stream is not a whole tar; the caller, which knows the file, makes an ArchiveError of it."""


class TarReader:
    """Iterates over the members; `readinto` reads the data of the last one, and the next step skips the rest.

    `stream` fills each buffer, except at its end; `archive_size` is the number of bytes that it was decoded from.
    """

    def __init__(self, stream: Reader, archive_size: int = 0) -> None:
        self._stream = stream
        self._most_headers = tar_header.most_headers(archive_size)
        self._left = 0
        self._padding = 0
        self._headers = 0
        self._buffer = memoryview(bytearray(DECODE_SIZE))

    def __iter__(self) -> Iterator[Member]:
        extended: dict[str, str] = {}
        while (member := self._header()) is not None:
            if member.kind in _EXTENSIONS:
                extension = self._extension(member)
                if extension.keys() & extended.keys() or (extension and member.kind == b"g"):
                    # Programs differ in the value that they use of two, and in values for all that follow.
                    raise TarError("a header repeats a value of another one, or speaks for all members")
                extended |= extension
            else:
                yield self._extended(member, extended)
                extended = {}
                self._skip_rest()
        if extended:
            raise TarError("a header at the end of the tar belongs to no member")

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer with the data of the member, except at their end."""
        view = buffer[: self._left]
        self._take(view)
        self._left -= len(view)
        return len(view)

    def _header(self) -> Member | None:
        block = bytes(self._take(self._buffer[: tar_header.BLOCK]))
        if block == _ZERO:
            return None
        member = tar_header.parse(block)
        if member is None:
            raise TarError("the bytes here are not a tar header")
        self._count()
        self._expect(member, f"{member.name[:200]!r} has data, and is of a kind that has none")
        return member

    def _expect(self, member: Member, problem: str) -> None:
        if member.size and member.kind in _WITHOUT_DATA:
            raise TarError(problem)
        self._left, self._padding = member.size, -member.size % tar_header.BLOCK

    def _extension(self, member: Member) -> dict[str, str]:
        """Read a header for the next member: `path`, `linkpath` and `size`, those that it has."""
        if member.size > _MAX_EXTENSION:
            raise TarError(f"a header of {member.size} bytes is there, more than any name needs")
        data = bytearray(member.size)
        self.readinto(memoryview(data))
        self._skip_rest()
        if member.kind in _PAX:
            return self._pax(data)
        return {"path" if member.kind == tar_header.LONG_NAME else "linkpath": tar_header.text(data)}

    def _extended(self, member: Member, extended: dict[str, str]) -> Member:
        problem = f"{member.name[:200]!r} has an impossible size"
        text = extended.get("size")
        if text and not _SIZE.fullmatch(text):
            raise TarError(problem)
        size = int(text) if text else member.size
        member = Member(member.kind, extended.get("path", member.name), size, extended.get("linkpath", member.target))
        self._expect(member, problem)
        return member

    def _pax(self, data: bytearray) -> dict[str, str]:
        """Read the records of a pax header: `LENGTH KEY=VALUE` and a line break, where LENGTH is that of the record."""
        records: dict[str, str] = {}
        start = 0
        while start < len(data):
            self._count()
            match = _PAX_RECORD.match(data, start)
            end = start + int(match[1]) if match else 0
            if match is None or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
                raise TarError("a pax header is damaged")
            key = match[2].decode("utf-8", "replace")
            if key.startswith("GNU.sparse"):
                raise TarError("a sparse file is there, a kind that no archive of images has")
            if key in ("path", "linkpath", "size"):
                records[key] = tar_header.text(data[match.end() : end - 1])
            start = end
        return records

    def _count(self) -> None:
        self._headers += 1
        if self._headers > self._most_headers:
            raise TarError(f"more than {self._most_headers:,} headers are in it")

    def _skip_rest(self) -> None:
        skip = getattr(self._stream, "skip", None)
        if self._left and skip is not None:
            if not skip(self._left):
                raise TarError("the tar ends too early")
            self._left = 0
        while self._left:
            self.readinto(self._buffer)
        if self._padding:
            self._take(self._buffer[: self._padding])
            self._padding = 0

    def _take(self, view: memoryview) -> memoryview:
        if self._stream.readinto(view) < len(view):
            raise TarError("the tar ends too early")
        return view
