"""Archives to test with: what goes in, written by the writer, and read back by libraries that are not ours."""

import io
import json
import os
import random
import shutil
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from hangar_async.archive.write.writer import ArchiveWriter, Written
from hangar_async.oci.digest import Digest

ROOT = "saved-image-cache"
INDEX = f"{ROOT}/archive-index.json"
GZIP_MAGIC = b"\x1f\x8b\x08"
SUFFIX = {"gzip": ".tar.gz", "zstd": ".tar.zstd"}


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that nothing compresses, with the start of a gzip file."""
    return (GZIP_MAGIC + random.Random(seed).randbytes(size))[:size]


def text(size: int, seed: int = 0) -> bytes:
    """Bytes that compress."""
    words = [b"layer", b"blob", b"manifest", b"index", b"config", b"\n"]
    chosen = random.Random(seed).choices(words, k=size // 5 + 2)
    return b" ".join(chosen)[:size]


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


def index_of(files: dict[str, bytes]) -> Any:
    return json.loads(files[INDEX])


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
