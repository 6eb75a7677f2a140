"""The formats gzip and zstd, for the writer and the reader: magic numbers, headers, blocks of stored content, DEFLATE.

DEFLATE and CRC-32 are computed by isal, else by zlib. Sources: RFC 1951 (3.2.4, stored blocks), RFC 1952, RFC 8878
(3.1.1.1 and 3.1.1.2, frames and raw blocks); zstd's contrib/seekable_format, "Zstandard Seekable Format".
"""

import gzip
import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
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
XZ = "xz"
BZIP2 = "bzip2"
ZIP = "zip"
TAR = "tar"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
#: The first bytes of each format.
MAGIC = {b"\x1f\x8b\x08": GZIP, ZSTD_MAGIC: ZSTD}
_XZ_MAGIC, _BZIP2_MAGIC, _ZIP_MAGIC = b"\xfd7zXZ\0", b"BZh", b"PK\x03\x04"
#: The first bytes of each format that can be read; the second one of zip is that of an empty one.
READ_MAGIC = {**MAGIC, _XZ_MAGIC: XZ, _BZIP2_MAGIC: BZIP2, _ZIP_MAGIC: ZIP, b"PK\x05\x06": ZIP}
#: The first bytes of compressed content: gzip, zstd, xz, bzip2, lz4, zip.
COMPRESSED_MAGIC = (*MAGIC, _XZ_MAGIC, _BZIP2_MAGIC, b"\x04\x22\x4d\x18", _ZIP_MAGIC)
#: The size in bytes of the footer of an archive, which both formats have where readers skip it.
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

#: Magic number and length of a skippable zstd frame.
SKIPPABLE = struct.Struct("<II")
SKIPPABLE_MAGIC = range(0x184D2A50, 0x184D2A60)
FOOTER_FRAME_START = SKIPPABLE.pack(0x184D2A5D, FOOTER_SIZE)
#: The seek table: lengths of each frame and of its content, then their count, a descriptor, and a magic number.
SEEK_TABLE_MAGIC = 0x184D2A5E
SEEK_ENTRY = struct.Struct("<II")
SEEK_FOOTER = struct.Struct("<IBI")
SEEKABLE_MAGIC = 0x8F92EAB1

#: A header and the number of bytes of content after it. A first block that begins in its middle has no header.
Block = tuple[bytes, int]
#: A stored block of DEFLATE: its type with the padding after it, its length, the complement of that. All but the last
#: one of a file have STORED_BLOCK bytes of content.
STORED_HEADER = struct.Struct("<BHH")
STORED_BLOCK = 65535
#: The bytes of content of each piece of a file that is deflated, but the last one.
DEFLATE_PIECE = 1 << 20
#: The bytes of content of a zstd frame of raw blocks, and of each block; the last ones of a file may be shorter.
RAW_FRAME = 64 << 20
RAW_BLOCK = 128 << 10
#: Magic number, a content size of four bytes (0x80), and a window of 128 KiB, the largest block.
_FRAME_START = ZSTD_MAGIC + bytes((0x80, (17 - 10) << 3))
_FRAME_HEADER_SIZE = len(_FRAME_START) + 4
_RAW_HEADER_SIZE = 3
#: The most bytes of a header.
MAX_HEADER = _FRAME_HEADER_SIZE + _RAW_HEADER_SIZE

#: The exceptions of the decoders for damaged data; isal raises an OverflowError for a header longer than its buffer.
ERRORS: tuple[type[Exception], ...] = (zlib.error, _fast.error, EOFError, gzip.BadGzipFile, OverflowError)
#: The levels that isal has; zlib has the others.
FAST_LEVELS = range(1, 4)
#: The level of content that is compressed on its way.
_GZIP_LEVEL = 2
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


def gzip_pieces(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Compress pieces to one gzip member without name and time; equal content gives equal bytes, however it is cut."""
    crc = size = 0
    yield GZIP_HEADER
    for piece in _even(pieces):
        crc, size = crc32(piece, crc), size + len(piece)
        data = deflate(piece, _GZIP_LEVEL)
        relax()
        yield data
    yield LAST_BLOCK + GZIP_TRAILER.pack(crc, size & 0xFFFFFFFF)


def _even(pieces: Iterable[bytes | memoryview]) -> Iterator[memoryview]:
    """Cut pieces into those of equal size, each valid until the next one; isal's output depends on the cuts."""
    buffer, filled = memoryview(bytearray(DEFLATE_PIECE)), 0
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            count = min(len(rest), len(buffer) - filled)
            buffer[filled : filled + count] = rest[:count]
            rest, filled = rest[count:], filled + count
            if filled == len(buffer):
                yield buffer
                filled = 0
    if filled:
        yield buffer[:filled]


def inflater() -> Any:
    """Make a decompressobj for raw DEFLATE."""
    return _fast.decompressobj(-zlib.MAX_WBITS)


def gzip_reader(source: Any) -> Any:
    """Make a reader of gzip members, whose CRC-32 is checked; `source` is a binary file that it does not close."""
    return _gzip_file(fileobj=source, mode="rb")


def relax() -> None:
    """Prepare a thread for hashing after it used isal, or was started by a thread that did.

    isal leaves the upper halves of the vector registers in use, and new threads inherit them. Until they are cleared
    the instructions of SHA-256 are slower by a quarter (measured on Zen 4). OpenSSL's SHA-512 clears them.
    """
    hashlib.sha512(b"").digest()


def stored_blocks(size: int, start: int = 0) -> Iterator[Block]:
    """Divide `size` bytes of content into stored blocks, and return these from byte `start` on."""
    return _blocks(size, start, STORED_BLOCK, lambda _, count: STORED_HEADER.pack(0, count, count ^ 0xFFFF))


def stored_offset(start: int) -> int:
    """Return the offset, from the first stored block on, of byte `start`, or of the header of the block it begins."""
    return start + STORED_HEADER.size * -(-start // STORED_BLOCK)


def stored_size(length: int) -> int:
    """Return the size of the content that stored blocks of `length` bytes in all have."""
    full = STORED_HEADER.size + STORED_BLOCK
    return max(0, length - STORED_HEADER.size * -(-length // full))


def raw_blocks(size: int, start: int = 0) -> Iterator[Block]:
    """Divide `size` bytes of content into raw blocks in frames, and return these from byte `start` on."""

    def header(position: int, count: int) -> bytes:
        inside = position % RAW_FRAME
        frame = min(RAW_FRAME, size - position + inside)
        # Bit 0: the last block; bits 1 and 2: its type, 0 for raw; then its size.
        block = (count << 3 | (inside + count == frame)).to_bytes(_RAW_HEADER_SIZE, "little")
        return block if inside else _FRAME_START + frame.to_bytes(4, "little") + block

    return _blocks(size, start, RAW_BLOCK, header)


def raw_offset(start: int) -> int:
    """Return the offset, from the first raw frame on, of byte `start`, or of the headers of the block it begins."""
    return start + _FRAME_HEADER_SIZE * -(-start // RAW_FRAME) + _RAW_HEADER_SIZE * -(-start // RAW_BLOCK)


def _blocks(size: int, start: int, block: int, header: Callable[[int, int], bytes]) -> Iterator[Block]:
    for position in range(start - start % block, size, block):
        end = min(position + block, size)
        if position >= start:
            yield header(position, end - position), end - position
        elif end > start:
            yield b"", end - start
