"""The formats gzip and zstd: names, magic numbers, frames that carry the footer, and the libraries of DEFLATE.

DEFLATE and CRC-32 are computed by isal, else by zlib.
Sources: RFC 1951, RFC 1952, RFC 8878; zstd's contrib/seekable_format, "Zstandard Seekable Format".
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Callable
from typing import Any

try:
    import isal
    from isal import igzip, isal_zlib
except ImportError:
    _fast: Any = zlib
    _gzip_file: Any = gzip.GzipFile
    _NAME = f"zlib {zlib.ZLIB_RUNTIME_VERSION}"
else:
    _fast = isal_zlib
    _gzip_file = igzip.IGzipFile
    _NAME = f"isal {isal.__version__}"

GZIP = "gzip"
ZSTD = "zstd"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
#: The first bytes of each format.
MAGIC = {b"\x1f\x8b\x08": GZIP, ZSTD_MAGIC: ZSTD}
#: The first bytes of content that is compressed already; gzip, zstd, xz, bzip2, lz4, zip.
COMPRESSED_MAGIC = (*MAGIC, b"\xfd7zXZ\0", b"BZh", b"\x04\x22\x4d\x18", b"PK\x03\x04")
#: The size in bytes of the footer of an archive, which both formats carry where readers skip it.
FOOTER_SIZE = 24

#: The header of the gzip member that has all data: no name, no time, operating system "unknown".
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
#: An empty last block with fixed codes.
LAST_BLOCK = b"\x03\x00"
#: CRC-32 and size of the content of a member.
GZIP_TRAILER = struct.Struct("<II")
#: The second member of gzip is empty; an extra subfield of its header, `HG`, is the footer.
FOOTER_MEMBER_START = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff" + struct.pack(
    "<H2sH", 4 + FOOTER_SIZE, b"HG", FOOTER_SIZE
)
FOOTER_MEMBER_END = LAST_BLOCK + GZIP_TRAILER.pack(0, 0)

#: Magic number and length of a zstd frame that readers skip.
SKIPPABLE = struct.Struct("<II")
SKIPPABLE_MAGIC = range(0x184D2A50, 0x184D2A60)
FOOTER_FRAME_START = SKIPPABLE.pack(0x184D2A5D, FOOTER_SIZE)
#: The seek table: lengths of each frame and of its content, then their count, a descriptor, and a magic number.
SEEK_TABLE_MAGIC = 0x184D2A5E
SEEK_ENTRY = struct.Struct("<II")
SEEK_FOOTER = struct.Struct("<IBI")
SEEKABLE_MAGIC = 0x8F92EAB1

#: The exceptions of the decoders for damaged data; isal raises an OverflowError for a header longer than its buffer.
ERRORS: tuple[type[Exception], ...] = (zlib.error, _fast.error, EOFError, gzip.BadGzipFile, OverflowError)
#: The levels that isal has; zlib has the others.
FAST_LEVELS = range(1, 4)
crc32: Callable[[bytes | memoryview, int], int] = _fast.crc32


def compressor_name(level: int) -> str:
    """Name the library that compresses at a level, and its version."""
    return _NAME if level in FAST_LEVELS else f"zlib {zlib.ZLIB_RUNTIME_VERSION}"


def deflate(data: bytes | memoryview, level: int) -> bytes:
    """Compress to raw DEFLATE that ends with a full flush: at a byte boundary, with a cleared dictionary."""
    library = _fast if level in FAST_LEVELS else zlib
    stream = library.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    start: bytes = stream.compress(data)
    end: bytes = stream.flush(zlib.Z_FULL_FLUSH)
    return start + end


def inflater() -> Any:
    """Make a decompressobj for raw DEFLATE."""
    return _fast.decompressobj(-zlib.MAX_WBITS)


def gzip_reader(source: Any) -> Any:
    """Make a reader of gzip members, whose CRC-32 is checked; `source` is a binary file that it does not close."""
    return _gzip_file(fileobj=source, mode="rb")


def relax() -> None:
    """Prepare a thread for hashing after it used the library, or was started by a thread that did.

    isal leaves the upper halves of the vector registers in use, as new threads inherit them, and until they are
    cleared the instructions of SHA-256 are slower by a quarter (measured on Zen 4). OpenSSL's SHA-512 clears them.
    """
    hashlib.sha512(b"").digest()
