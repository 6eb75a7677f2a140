"""Tar headers and padding: values to bytes, the same from every version of Python, and back.

Format: POSIX.1-1988 "ustar". A name that does not fit gets a GNU long-name entry before its own, and a size from 8 GiB
on is GNU's binary number. GNU tar, bsdtar, busybox, Go and Python all read this.
"""

import re
import struct
from typing import NamedTuple

BLOCK = 512
#: The most headers and pax records of a tar in an archive of any size: twice the number for 100,000 files that have
#: times with fractions each. Repeated ones compress so well that a file of a few KiB could otherwise take hours.
MAX_HEADERS = 1 << 19
#: A header of ours has a digest in its name, and its file has some content.
_BYTES_A_HEADER = 64
_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_NAME_SIZE = 100
_PREFIX_SIZE = 155
_USTAR = (b"ustar\0", b"00")
_GNU = (b"ustar ", b" \0")
_LONG_NAME = b"././@LongLink"
FILE = b"0"
HARD_LINK = b"1"
LINK = b"2"
DIRECTORY = b"5"
LONG_NAME = b"L"
LONG_LINK = b"K"
_MODES = {FILE: 0o644, LINK: 0o777, DIRECTORY: 0o755}
#: Two empty blocks end a tar; GNU pads to records of 20 blocks, and so do we.
_RECORD = 20 * BLOCK


class Member(NamedTuple):
    """One member of a tar: the type flag of its header, name, size of the data, target of a link."""

    kind: bytes
    name: str
    size: int
    target: str


def most_headers(size: int) -> int:
    """Return the most headers and pax records of a tar in an archive of `size` bytes."""
    return max(MAX_HEADERS, size // _BYTES_A_HEADER)


def header(kind: bytes, name: str, *, size: int = 0, target: str = "", mtime: int = 0) -> bytes:
    """Return the header blocks of an entry: owner 0/0 without names, mode 0644, 0755 or (a link) 0777."""
    path = name.encode("utf-8", "surrogateescape") + (b"/" if kind == DIRECTORY else b"")
    link = target.encode("utf-8", "surrogateescape")
    split = _split(path)
    before = _long(LONG_LINK, link) if len(link) > _NAME_SIZE else b""
    gnu = before or split is None or size >= 8**11
    # GNU's format has other fields in place of the prefix of ustar.
    if split is None or (gnu and split[0]):
        before += _long(LONG_NAME, path)
        split = b"", path
    return before + _block(kind, *split, size, link, mtime, _GNU if gnu else _USTAR)


def padding(size: int) -> bytes:
    """Return the zeros after `size` bytes of a file's data."""
    return bytes(-size % BLOCK)


def end(size: int) -> bytes:
    """Return the end of a tar stream that is `size` bytes long so far."""
    return bytes(2 * BLOCK + -(size + 2 * BLOCK) % _RECORD)


def parse(block: bytes) -> Member | None:
    """Read a header block; None where it is not valid."""
    fields = _FIELDS.unpack(block)
    try:
        checksum, size = _value(fields[6]), _value(fields[4])
    except ValueError:
        return None
    if checksum != sum(block) - sum(fields[6]) + 8 * ord(" "):
        return None
    name, target, prefix = text(fields[0]), text(fields[8]), text(fields[15])
    if prefix and fields[9] != _USTAR[0]:
        return None  # only some programs take it for a part of the name
    if prefix:
        name = f"{prefix}/{name}"
    return Member(fields[7], name, size, target)


def text(data: bytes | bytearray) -> str:
    """Decode a name, which ends before the first zero; bytes that are not UTF-8 are kept as surrogates."""
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _value(field: bytes) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b"\0 ")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise ValueError(f"{digits!r} is not an octal number")
    return int(digits or b"0", 8)


def _split(path: bytes) -> tuple[bytes, bytes] | None:
    """Divide a path into ustar's prefix and name; None where it does not fit."""
    if len(path) <= _NAME_SIZE:
        return b"", path
    cut = path.find(b"/", len(path) - _NAME_SIZE - 1)
    if cut <= 0 or cut > _PREFIX_SIZE or cut == len(path) - 1:
        return None
    return path[:cut], path[cut + 1 :]


def _long(kind: bytes, name: bytes) -> bytes:
    data = name + b"\0"
    return _block(kind, b"", _LONG_NAME, len(data), b"", 0, _GNU) + data + padding(len(data))


def _block(
    kind: bytes, prefix: bytes, name: bytes, size: int, link: bytes, mtime: int, magic: tuple[bytes, bytes]
) -> bytes:
    # Longer names are cut here; a long-name entry has all of them.
    fields = [
        name, _octal(_MODES.get(kind, 0o644), 8), _octal(0, 8), _octal(0, 8), _number(size), _octal(mtime, 12),
        b" " * 8, kind, link, *magic, b"", b"", _octal(0, 8), _octal(0, 8), prefix,
    ]  # fmt: skip
    checksum = sum(_FIELDS.pack(*fields))
    fields[6] = b"%06o\0 " % checksum
    return _FIELDS.pack(*fields)


def _octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def _number(size: int) -> bytes:
    return _octal(size, 12) if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
