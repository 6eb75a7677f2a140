"""Archives to test with: their content, written by the writer, and read back by libraries that are not ours."""

import io
import json
import os
import random
import shutil
import struct
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from hangar_async.archive import formats
from hangar_async.archive.entries import ArchiveEntry
from hangar_async.archive.index import Footer, IndexEncoder
from hangar_async.archive.read.archive import Archive
from hangar_async.archive.write.writer import ArchiveWriter, Written
from hangar_async.oci.digest import Digest

ROOT = "saved-image-cache"
INDEX = f"{ROOT}/archive-index.json"
GZIP_MAGIC = b"\x1f\x8b\x08"
KINDS = ("gzip", "zstd")
MIB = 1 << 20


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that nothing compresses, with the start of a gzip file."""
    return (GZIP_MAGIC + random.Random(seed).randbytes(size))[:size]


def text(size: int, seed: int = 0) -> bytes:
    """Bytes that compress."""
    words = [b"layer", b"blob", b"manifest", b"index", b"config", b"\n"]
    chosen = random.Random(seed).choices(words, k=size // 5 + 2)
    return b" ".join(chosen)[:size]


#: Content for the fixture `archive`: of all encodings, and of the sizes at which blocks and frames end.
BLOBS = [noise(300_000), text(2_500_000), b"", b"x", bytes(5 * MIB), noise(65535 * 3, seed=1), text(513)]


def blob_path(data: bytes) -> str:
    return f"{ROOT}/share/sha256/{Digest.of(data).hex}"


def fill(writer: ArchiveWriter, blobs: Iterable[bytes], directory: Path) -> None:
    """Write the blobs as a save does, from files in a directory; then one folder of an image."""
    for name in (ROOT, f"{ROOT}/share", f"{ROOT}/share/sha256"):
        writer.add_directory(name)
    for data in dict.fromkeys(blobs):
        digest = Digest.of(data)
        source = directory / digest.hex
        source.write_bytes(data)
        writer.add_file(blob_path(data), source, len(data), digest=digest, compressed=data.startswith(GZIP_MAGIC))
        source.unlink()
    writer.add_link(f"{ROOT}/blobs", "share")
    writer.add_directory(f"{ROOT}/{'f' * 64}")
    writer.add_directory(f"{ROOT}/{'f' * 64}/blobs")
    writer.add_bytes(f"{ROOT}/{'f' * 64}/index.json", b"{}")


def write(target: Path, kind: str, blobs: Iterable[bytes] = (b"one", b"", noise(70_000)), **options: Any) -> Written:
    """Write a whole archive."""
    with ArchiveWriter(target, kind, **options) as writer:
        fill(writer, blobs, target.parent)
        return writer.commit()


def joined(written: Written) -> bytes:
    return b"".join(path.read_bytes() for path in written.files)


def unpacked(stream: bytes) -> bytes:
    """The tar in a compressed stream."""
    if stream.startswith(GZIP_MAGIC):
        return zlib.decompress(stream, 31)
    return zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True).read()


def contents(tar: bytes) -> dict[str, bytes]:
    """The regular files of a tar."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as opened:
        for member in opened:
            if member.isreg():
                assert member.name not in found
                file = opened.extractfile(member)
                assert file is not None
                found[member.name] = file.read()
    return found


def decoded(stream: bytes, entry: dict[str, Any]) -> bytes:
    """The file of an index entry, from nothing but its own bytes."""
    piece = stream[entry["offset"] : entry["offset"] + entry["length"]]
    if entry["encoding"] == "zstd":
        return zstandard.ZstdDecompressor().stream_reader(piece, read_across_frames=True).read()
    inflate = zlib.decompressobj(-15)
    data = inflate.decompress(piece)
    assert not inflate.unused_data
    return data


class EncodedIndex(IndexEncoder):
    """An index whose content is kept."""

    def __init__(self, compression: str) -> None:
        self._parts: list[bytes] = []
        super().__init__(compression, self._parts.append)

    def content(self) -> bytes:
        return b"".join(self._parts) + b"\n]}\n"


def encoded_index(compression: str, entries: Iterable[ArchiveEntry]) -> bytes:
    """The content of `archive-index.json` with these entries."""
    encoder = EncodedIndex(compression)
    for entry in entries:
        encoder.add(entry)
    return encoder.content()


def index_of(files: dict[str, bytes]) -> Any:
    return json.loads(files[INDEX])


def content(archive: Archive, entry: ArchiveEntry, start: int = 0) -> bytes:
    """The content of a file from a byte on."""
    with archive.open(entry, start) as reader:
        return reader.readall()


def with_index(directory: Path, kind: str, change: Any, footer: Footer | None = None) -> Path:
    """Write an archive and append another index, and perhaps another footer; `change` edits the document."""
    stream = joined(write(directory / "a", kind, [noise(3000), text(5000)]))
    document = index_of(contents(unpacked(stream)))
    change(document)
    raw = json.dumps(document).encode()
    packed = formats.deflate(raw, 6) if kind == "gzip" else zstandard.ZstdCompressor().compress(raw)
    payload = (footer or Footer(len(stream), len(packed))).payload()
    if kind == "gzip":
        end = formats.FOOTER_MEMBER_START + payload + formats.FOOTER_MEMBER_END
    else:
        end = formats.FOOTER_FRAME_START + payload + struct.pack("<IIIBI", 0x184D2A5E, 9, 0, 0, 0x8F92EAB1)
    (directory / "b").write_bytes(stream + packed + end)
    return directory / "b"


def first_entry(**changes: Any) -> Any:
    """A change of the first entry of an index."""
    return lambda document: document["entries"][0].update(changes)


def visible(directory: Path) -> list[str]:
    return sorted(name for name in os.listdir(directory) if not name.startswith("."))


def temporary(directory: Path) -> list[str]:
    return sorted(name for name in os.listdir(directory) if name.startswith("."))


def needs(*programs: str) -> None:
    """Skip a test without these programs; in CI they have to be there."""
    for program in programs:
        if shutil.which(program) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{program} is missing")
            pytest.skip(f"{program} is missing")
