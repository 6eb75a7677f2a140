"""Tar headers and padding: values to bytes, the same from every version of Python, and back.

Format: POSIX.1-1988 "ustar"; a name that does not fit gets a GNU long-name entry before its own, a size from 8 GiB
on GNU's binary number: what GNU tar, bsdtar, busybox, Go and Python all read.
"""

from __future__ import annotations

import re
import struct

BLOCK = 512
_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_NAME_SIZE = 100
_PREFIX_SIZE = 155
_USTAR = (b"ustar\0", b"00")
_GNU = (b"ustar ", b" \0")
_LONG_NAME = b"././@LongLink"
FILE = b"0"
LINK = b"2"
DIRECTORY = b"5"
LONG_NAME = b"L"
LONG_LINK = b"K"
_MODES = {FILE: 0o644, LINK: 0o777, DIRECTORY: 0o755}
#: Two empty blocks end a tar; GNU pads to records of 20 blocks, and so do we.
_RECORD = 20 * BLOCK


def header(kind: bytes, name: str, *, size: int = 0, target: str = "", mtime: int = 0) -> bytes:
    """Return the header blocks of an entry: owner 0/0 without names, mode 0644, 0755 or (a link) 0777."""
    path = name.encode("utf-8", "surrogateescape") + (b"/" if kind == DIRECTORY else b"")
    link = target.encode("utf-8", "surrogateescape")
    split = _split(path)
    before = b""
    if len(link) > _NAME_SIZE:
        before += _long(LONG_LINK, link)
    if split is None:
        before += _long(LONG_NAME, path)
    magic = _GNU if before or size >= 8**11 else _USTAR
    if magic is _GNU and split is not None and split[0]:
        # GNU's format has other fields where ustar has the prefix.
        before += _long(LONG_NAME, path)
        split = None
    prefix, short = split or (b"", path[:_NAME_SIZE])
    return before + _block(kind, short, prefix, size, link[:_NAME_SIZE], mtime, magic)


def padding(size: int) -> bytes:
    """Return the zeros behind `size` bytes of a file's data."""
    return bytes(-size % BLOCK)


def end(size: int) -> bytes:
    """Return what ends a tar stream that is `size` bytes long so far."""
    return bytes(2 * BLOCK + -(size + 2 * BLOCK) % _RECORD)


def parse(block: bytes) -> tuple[bytes, str, int, str] | None:
    """Read a header block: type flag, name, size and target of a link; None where it is no header."""
    fields = _FIELDS.unpack(block)
    try:
        checksum, size = _value(fields[6]), _value(fields[4])
    except ValueError:
        return None
    if checksum != sum(block) - sum(fields[6]) + 8 * ord(" "):
        return None
    name, target, prefix = (field.partition(b"\0")[0] for field in (fields[0], fields[8], fields[15]))
    if prefix and fields[9] != _USTAR[0]:
        return None  # for some programs it is a part of the name, for others not
    if prefix:
        name = prefix + b"/" + name
    return fields[7], _text(name), size, _text(target)


def _value(field: bytes) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.strip(b"\0 ")
    if not re.fullmatch(rb"[0-7]*", text):
        raise ValueError(f"{text!r} is not an octal number")
    return int(text or b"0", 8)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _split(path: bytes) -> tuple[bytes, bytes] | None:
    """Divide a path into ustar's prefix and name; None where it fits in no way."""
    if len(path) <= _NAME_SIZE:
        return b"", path
    cut = path.find(b"/", len(path) - _NAME_SIZE - 1)
    if cut <= 0 or cut > _PREFIX_SIZE or cut == len(path) - 1:
        return None
    return path[:cut], path[cut + 1 :]


def _long(kind: bytes, text: bytes) -> bytes:
    data = text + b"\0"
    return _block(kind, _LONG_NAME, b"", len(data), b"", 0, _GNU) + data + padding(len(data))


def _block(
    kind: bytes, name: bytes, prefix: bytes, size: int, link: bytes, mtime: int, magic: tuple[bytes, bytes]
) -> bytes:
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
