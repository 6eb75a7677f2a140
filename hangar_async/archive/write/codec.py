"""Compressed streams with restart points: what the writer asks of a format, and when compressing pays."""

from __future__ import annotations

from typing import Protocol

from hangar_async.archive.index import Encoding, Footer
from hangar_async.archive.write.input import Source

#: How content that is compressed already begins: gzip, zstd, xz, bzip2, lz4, zip.
_MAGIC = (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh", b"\x04\x22\x4d\x18", b"PK\x03\x04")
_SAMPLE = 1 << 20


class Codec(Protocol):
    """Writes one compressed stream into an output; every call makes units that can be read without what is before."""

    #: The format's name, as in the index.
    format: str
    #: The library that compresses, and its version.
    compressor: str

    def write(self, data: bytes) -> None:
        """Append a few bytes that are no file's data, such as tar headers."""
        ...

    def store(self, source: Source) -> Encoding:
        """Append a source as it is."""
        ...

    def compress(self, source: Source) -> Encoding:
        """Append a source, really compressed."""
        ...

    def shrink(self, sample: bytes) -> int:
        """Say to how many bytes a sample can be compressed."""
        ...

    def finish(self, footer: Footer) -> None:
        """End the stream; the footer comes behind the end of the data."""
        ...

    def close(self) -> None:
        """End its threads; may be called again."""
        ...


def pays(codec: Codec, source: Source, *, compressed: bool) -> bool:
    """Whether to compress a source: not if its type and first bytes say that it is, nor if a sample gains under 3 %."""
    if compressed and source.head(6).startswith(_MAGIC):
        return False
    sample = source.head(_SAMPLE)
    return codec.shrink(sample) < len(sample) * 0.97
