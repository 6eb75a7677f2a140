"""Decoders of compressed bytes, in pieces of bounded size whatever the bytes claim; files read by the index."""

from __future__ import annotations

import bz2
import io
import lzma
import os
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import zstandard

from hangar_async.archive import formats
from hangar_async.archive.entries import ArchiveEntry
from hangar_async.archive.read.volume import Volume, Window
from hangar_async.layout.files import LayoutFile, named_digest
from hangar_async.oci import PIECE, Reader, read_pieces

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: The compressed bytes that are read at once.
DECODE_SIZE = 1 << 18
#: The largest window; neither our writer nor by default Hangar and the zstd program use a larger one.
MAX_WINDOW = 8 << 20
#: The memory of a decoder of xz: enough for its highest level, which needs 65 MiB.
_MAX_XZ_MEMORY = 128 << 20
#: The blocks that are read at once.
_MAX_BLOCKS = 64
#: Blocks that a decoder at the end of a block and of a byte decodes to this text, and one in another state does not: an
#: empty one with fixed codes, and a stored one. No archive can be made for a text that is not known.
_END_TEXT = os.urandom(16)
_END_BLOCKS = b"\x02\x00" + formats.STORED_HEADER.pack(0, len(_END_TEXT), len(_END_TEXT) ^ 0xFFFF)[1:] + _END_TEXT
#: The errors of the decoders for damaged data.
ERRORS: tuple[type[Exception], ...] = (*formats.ERRORS, zstandard.ZstdError)


class Inflater:
    """Raw DEFLATE data of a window, decoded to its end: that of a block, none of which is marked as the last one."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._inflate = formats.inflater()
        self._input = b""
        self._ended = False

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer, or a part of it; 0 at the end. Raises ArchiveError for a last block, or an end within one."""
        while not self._ended:
            # Without new input there may still be output that did not fit into the last buffer.
            self._input = self._input or self._window.read(DECODE_SIZE)
            ended = not self._input
            data = self._inflate.decompress(self._input, len(buffer))
            self._input = self._inflate.unconsumed_tail
            if data:
                buffer[: len(data)] = data
                return len(data)
            if self._inflate.eof:
                # Another program, which decodes the whole archive, would end here.
                self._window.broken("a block before here is marked as the last one")
            self._ended = ended
            # Another program would go on within the block, with the bytes after the window.
            if ended and self._inflate.decompress(_END_BLOCKS) != _END_TEXT:
                self._window.broken("the compressed data end within a block")
        return 0


class PieceReader:
    """The content of pieces, each decoded alone by `decode`; `pieces` are the end of each in the stream, and its size.

    A piece of another size is an ArchiveError. So any reading that begins at one of them has the bytes of a reading of
    all of them, even where their positions are wrong.
    """

    def __init__(self, window: Window, pieces: Iterator[tuple[int, int]], decode: Callable[[Window], Reader]) -> None:
        self._window = window
        self._pieces = pieces
        self._decode = decode
        self._reader: Reader = io.BytesIO()
        #: The bytes of content that are left of the current piece.
        self._left = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer, or a part of it; 0 at the end. Raises ArchiveError for a piece of another size."""
        while True:
            # Where nothing is left, the decoder has to find the end of its piece, with the checksum of zstd.
            count = self._reader.readinto(buffer[: self._left or 1])
            if count > self._left or (self._left and not count):
                self._window.broken("a piece that ends here has another size than the archive says")
            self._left -= count
            if count:
                return count
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._window.end, self._left = piece
            self._reader = self._decode(self._window)


class Unwrapper:
    """The content of blocks, read from a window without decoding; the window begins with the first block."""

    def __init__(self, window: Window, blocks: Iterator[formats.Block]) -> None:
        self._window = window
        self._blocks = blocks
        self._headers = memoryview(bytearray(_MAX_BLOCKS * formats.MAX_HEADER))
        #: The bytes that are left of the current block.
        self._left = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer, or a part of it; 0 at the end. Raises ArchiveError for bytes that are no such blocks."""
        done = min(self._left, len(buffer))
        self._left -= done
        views: list[memoryview] = [buffer[:done]]
        expected: list[bytes] = []
        used = 0
        for header, size in islice(self._blocks, _MAX_BLOCKS) if done < len(buffer) else ():
            count = min(size, len(buffer) - done)
            views += [self._headers[used : used + len(header)], buffer[done : done + count]]
            used += len(header)
            expected.append(header)
            done += count
            self._left = size - count
            if done == len(buffer):
                break
        offset = self._window.offset
        self._window.readv(views)
        if self._headers[:used] != b"".join(expected):
            self._window.broken("the bytes here are not stored blocks", offset)
        if done < len(buffer) and len(expected) < _MAX_BLOCKS and self._window.left:
            self._window.broken("more bytes follow the last of the stored blocks")
        return done


def frames(window: io.RawIOBase) -> Reader:
    """Decode zstd frames; skippable ones are skipped."""
    source: Any = window
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    reader: Reader = decompressor.stream_reader(source, read_size=DECODE_SIZE, read_across_frames=True, closefd=False)
    return reader


class _Streams:
    """The streams of xz or bzip2 in a window, one after the other, decoded in bounded memory; zeros may follow each."""

    def __init__(self, window: Window, make: Callable[[], Any]) -> None:
        self._window = window
        self._make = make
        self._decompressor = make()
        self._input = b""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a part of a buffer; 0 at the end. Raises EOFError for damaged data."""
        while not self._decompressor.eof or self._next_stream():
            if self._decompressor.needs_input and not self._input:
                self._input = self._window.read(DECODE_SIZE)
                if not self._input:
                    raise EOFError("they end too early")
            try:
                data: bytes = self._decompressor.decompress(self._input, len(buffer))
            except (lzma.LZMAError, OSError, ValueError) as error:
                raise EOFError(str(error)) from error
            self._input = b""
            if data:
                buffer[: len(data)] = data
                return len(data)
        return 0

    def _next_stream(self) -> bool:
        """Begin the next stream; False at the end of the window."""
        rest = self._decompressor.unused_data.lstrip(b"\0")
        while not rest and self._window.left:
            rest = self._window.read(DECODE_SIZE).lstrip(b"\0")
        if rest:
            self._decompressor, self._input = self._make(), rest
        return bool(rest)


def xz_streams(window: Window) -> Reader:
    """Decode streams of xz; their checksums are checked."""
    return _Streams(window, partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=_MAX_XZ_MEMORY))


def bzip2_streams(window: Window) -> Reader:
    """Decode streams of bzip2; their checksums are checked."""
    return _Streams(window, bz2.BZ2Decompressor)


def members(window: io.RawIOBase) -> Reader:
    """Decode gzip members; their CRC-32 is checked."""
    reader: Reader = formats.gzip_reader(window)
    return reader


@contextmanager
def decoding(window: Window) -> Iterator[None]:
    """Turn an error of a decoder into an ArchiveError about the bytes before the position of the window."""
    try:
        yield
    except ERRORS as error:
        window.broken(f"the compressed data are damaged before here: {error}")


def as_they_are(window: Window) -> Reader:
    """Read bytes that are not compressed."""
    reader: Any = window
    return cast("Reader", reader)


#: The decoders of whole archives, by their formats.
DECODERS: dict[str, Callable[[Window], Reader]] = {
    formats.GZIP: members,
    formats.ZSTD: frames,
    formats.XZ: xz_streams,
    formats.BZIP2: bzip2_streams,
    formats.TAR: as_they_are,
}


class Decoder:
    """The decoded content of a window; a Reader that fills its buffers."""

    def __init__(self, window: Window, decode: Callable[[Window], Reader]) -> None:
        self.window = window
        self._reader = decode(window)

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer; fewer bytes are the end. Raises ArchiveError, StorageError."""
        done = 0
        with decoding(self.window):
            while done < len(buffer) and (count := self._reader.readinto(buffer[done:])):
                done += count
        formats.relax()
        return done


def decode_units(volume: Volume, start: int, end: int, compression: str, limit: int, problem: str) -> bytearray:
    """Decode a range of whole units, such as the index; more than `limit` bytes are an ArchiveError with `problem`."""
    data = bytearray()
    buffer = memoryview(bytearray(1 << 16))
    with volume.open(start, end) as window:
        for piece in read_pieces(Decoder(window, Inflater if compression == formats.GZIP else frames), buffer):
            data += piece
            if len(data) > limit:
                volume.broken(start, problem)
    return data


class EntryReader(io.RawIOBase):
    """The last `size` bytes of the content of one file of an archive, decoded from a window.

    More or fewer bytes are an ArchiveError that names the part. For one thread at a time.
    """

    def __init__(self, entry: ArchiveEntry, size: int, window: Window, decode: Callable[[Window], Reader]) -> None:
        super().__init__()
        self._entry = entry
        self._left = size
        self._ended = False
        #: The window checks that every part is the same as at the opening of the archive.
        self.identity: Hashable = window.volume.path
        self._window = window
        self._decoder = Decoder(window, decode)

    def readable(self) -> bool:
        """Tell whether it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer; fewer bytes are the end."""
        view = memoryview(buffer).cast("B")[: self._left]
        done = self._decoder.readinto(view)
        self._left -= done
        if done < len(view):
            self._window.broken(f"{self._entry.name} ends {self._left} bytes too early")
        if not self._left and not self._ended:
            self._ended = True
            if self._decoder.readinto(memoryview(bytearray(1))):
                self._window.broken(f"{self._entry.name} has more than its {self._entry.size} bytes")
        return done

    def skip(self, count: int) -> None:
        """Decode `count` bytes and drop them."""
        buffer = memoryview(bytearray(min(count, DECODE_SIZE)))
        while count > 0:
            count -= self.readinto(buffer[:count])

    def check(self) -> None:
        """Raise ArchiveError, StorageError where the last part that was read has changed."""
        self._window.check()

    def close(self) -> None:
        """Close the window; may be called again."""
        self._window.close()
        super().close()


def opened_files(
    sizes: Mapping[str, int], open_file: Callable[[str], EntryReader], names: Collection[str] | None
) -> Iterator[LayoutFile]:
    """Read the files of these names that exist, or all, one after the other in the order of `sizes`."""
    chosen = sizes.keys() if names is None else sizes.keys() & set(names)
    buffer = memoryview(bytearray(PIECE))
    for name in [name for name in sizes if name in chosen]:
        with open_file(name) as reader:
            yield LayoutFile(name, sizes[name], named_digest(name), read_pieces(reader, buffer))
