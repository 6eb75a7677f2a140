"""Compressed bytes back into content, a bounded piece at a time whatever the bytes claim."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import zstandard

from hangar_async.archive import deflate
from hangar_async.archive.read.volume import Window

_READ = 1 << 18
#: No writer of ours uses a larger window; what Hangar and the zstd program write by default does not either.
_MOST_WINDOW = 8 << 20
_errors: tuple[type[Exception], ...] = (*deflate.ERRORS, zstandard.ZstdError)


class Decoder(Protocol):
    """Content, decoded from a window that it does not close."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer, or a part of it; 0 at the end."""
        ...


class Inflater:
    """Raw DEFLATE data of a window, decoded to its end; none of their blocks is marked as the last one."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._inflate = deflate.inflater()
        self._input = b""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer, or a part of it; 0 at the end. Raises ArchiveError for a last block."""
        while True:
            # Even without new input there may be output that did not fit into the last buffer.
            self._input = self._input or self._window.read(_READ) or b""
            ended = not self._input
            data = self._inflate.decompress(self._input, len(buffer))
            self._input = self._inflate.unconsumed_tail
            if data:
                buffer[: len(data)] = data
                return len(data)
            if self._inflate.eof:
                # Whoever decodes the whole of the archive would end here.
                self._window.volume.broken(self._window.offset, "a block before here is marked as the last one")
            if ended:
                return 0


def frames(window: Window) -> Decoder:
    """Decode zstd frames, skipping what is to be skipped."""
    source: Any = window
    reader = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW)
    decoder: Decoder = reader.stream_reader(source, read_size=_READ, read_across_frames=True, closefd=False)
    return decoder


def members(window: Window) -> Decoder:
    """Decode gzip members; their CRC-32 is checked."""
    decoder: Decoder = deflate.gzip_reader(window)
    return decoder


@contextmanager
def decoding(window: Window) -> Iterator[None]:
    """Make an ArchiveError of what a decoder says about the bytes before the window's position."""
    try:
        yield
    except _errors as error:
        window.volume.broken(window.offset, f"the compressed data are damaged before here: {error}")


def fill(decoder: Decoder, window: Window, buffer: memoryview) -> int:
    """Fill a buffer; it stays partly empty only at the end. Raises ArchiveError."""
    done = 0
    with decoding(window):
        while done < len(buffer) and (count := decoder.readinto(buffer[done:])):
            done += count
    deflate.relax()
    return done
