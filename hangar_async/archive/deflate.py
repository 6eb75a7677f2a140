"""DEFLATE and CRC-32: by isal where it is installed, else by zlib."""

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
#: What the decoders raise for data that are damaged; isal an OverflowError for a header longer than its buffer.
ERRORS: tuple[type[Exception], ...] = (zlib.error, _fast.error, EOFError, gzip.BadGzipFile, OverflowError)
#: The levels that isal has; for the others zlib is asked.
FAST_LEVELS = range(1, 4)
#: A stored block (RFC 1951, 3.2.4): its type with the padding behind it, its length, the complement of that. All but
#: the last one of a file are of STORED_BLOCK bytes.
STORED_HEADER = struct.Struct("<BHH")
STORED_BLOCK = 65535
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
    """Call this in a thread that has used what is above, or was started by one that had, before it hashes.

    isal leaves the upper halves of the vector registers in use, as new threads inherit them, and until they are
    cleared the instructions that SHA-256 is made of are slower by a quarter (measured on Zen 4). OpenSSL's SHA-512
    clears them.
    """
    hashlib.sha512(b"").digest()
