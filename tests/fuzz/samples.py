"""Small archives that are right: what the fuzzer begins with, and what is put around its bytes."""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import zstandard

from hangar_async.archive import tar_header
from hangar_async.archive.index import Footer
from hangar_async.archive.names import ARCHIVE_INDEX, LINK, LINK_TARGET
from hangar_async.archive.read.archive import Archive, open_archive
from hangar_async.archive.read.layout import stream_files
from hangar_async.archive.write.writer import ArchiveWriter
from hangar_async.layout.files import CACHE_NAME, EPOCH, blob_name, cache_files, folder_files, folder_names
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image, ImagePlatform
from hangar_async.oci.manifest import Descriptor, Index, parse_manifest
from hangar_async.oci.platform import Platform
from hangar_async.oci.reference import Reference
from hangar_async.testing.images import Built, Compression, attestation, image, index, layer
from tests.fakes import sources

KINDS = ("gzip", "zstd")
AMD64, ARM_V7 = Platform("linux", "amd64"), Platform("linux", "arm", "v7")
WINDOWS = Platform("windows", "amd64", os_version="10.0.20348")
_LAST_BLOCK = b"\x03\x00"
_NO_SEEK_TABLE = struct.pack("<IIIBI", 0x184D2A5E, 9, 0, 0, 0x8F92EAB1)


@cache
def one() -> Built:
    """An image for one platform."""
    return image([layer({"a": b"1"})], ARM_V7, docker=True)


@cache
def several() -> Built:
    """An image for three platforms, one of them attested."""
    first = image([layer({"a": b"2"}, "none")], AMD64)
    return index([first, one(), image([], WINDOWS), attestation(first)])


def docker(*kinds: Compression) -> sources.Files:
    """The files of a docker-archive; its layers are compressed in these ways, or not at all."""
    first, second = kinds or ("none", "none")
    return sources.docker(image([layer({"a": b"1"}, first), layer({"b": b"2"}, second)], AMD64), old=True)


def haul() -> sources.Files:
    """The files of a haul."""
    return sources.haul(several(), one())


def cached(name: str, built: Built, *, partial: bool = False) -> dict[str, bytes]:
    """The files of a cache with this one image, by their names, as `save` makes them."""
    document = parse_manifest(built.raw)
    root, original = document.descriptor, None
    files = {blob_name(digest): data for digest, data in built.blobs.items()}
    files |= {blob_name(digest): raw for digest, (_, raw) in built.documents.items()}
    held = [Descriptor(root.media_type, root.digest, root.size, built.platform)]
    if isinstance(document, Index):
        held = [entry for entry in document.manifests if entry.platform and not entry.platform.unknown]
        if partial:
            part = document.with_only(tuple(held[:1]))
            files[blob_name(part.digest)] = part.raw
            held, root, original = held[:1], part.descriptor, document.digest
    reference = Reference.parse(name)
    platforms = [(entry, entry.platform or AMD64) for entry in held]
    folders = folder_names(reference, [(entry.digest, platform) for entry, platform in platforms])
    saved = [
        ImagePlatform(replace(entry, platform=platform), folder)
        for (entry, platform), folder in zip(platforms, folders, strict=True)
    ]
    for platform in saved:
        files |= folder_files(platform)
    return files | cache_files([Image(reference, root, tuple(saved), original=original)], EPOCH)


@dataclass(frozen=True, slots=True)
class _Base:
    """An archive up to the header of its index: the stream, the tar in it, and what of it is still to be written."""

    stream: bytes
    crc: int
    size: int
    pending: bytes


def written(kind: str, files: Mapping[str, bytes], level: int | None = None) -> bytes:
    """The stream of an archive of these files."""
    with tempfile.TemporaryDirectory() as directory:
        with ArchiveWriter(Path(directory, "a"), kind, sync=False, workers=1, level=level) as writer:
            for name in directories(files):
                writer.add_directory(name)
            for name, data in files.items():
                writer.add_bytes(f"{CACHE_NAME}/{name}", data)
            writer.add_link(LINK, LINK_TARGET)
            writer.commit()
        return Path(directory, "a").read_bytes()


def directories(files: Mapping[str, bytes]) -> list[str]:
    """The directories that a tar of these files has, before them."""
    names = [CACHE_NAME]
    for name in files:
        parents = [str(parent) for parent in Path(CACHE_NAME, name).parents]
        names += reversed(parents[:-2])
    return list(dict.fromkeys(names))


def plain(files: Mapping[str, bytes]) -> bytes:
    """A tar of these files as Hangar makes it: no link, and no index of the archive."""
    data = b"".join(tar_header.header(tar_header.DIRECTORY, name) for name in directories(files))
    for name, content in files.items():
        data += member(tar_header.FILE, f"{CACHE_NAME}/{name}", content)
    return data + tar_header.end(len(data))


def member(kind: bytes, name: str, content: bytes = b"", target: str = "") -> bytes:
    """One member of a tar."""
    return tar_header.header(kind, name, size=len(content), target=target) + content + tar_header.padding(len(content))


@cache
def index_of(kind: str) -> bytes:
    """The index of such an archive as it is."""
    with _opened(kind) as archive:
        (data,) = [file.readall() for file in stream_files(archive, index=True) if file.name == ARCHIVE_INDEX]
    return data


@cache
def _base(kind: str) -> _Base:
    with _opened(kind) as archive:
        last = list(archive.entries.values())[-1]
        stream = archive.volume.read(0, last.offset + last.length)
    before = zlib.decompressobj(31).decompress(stream) if kind == "gzip" else _decompressed(stream)
    pending = tar_header.padding(last.size) + tar_header.header(tar_header.LINK, LINK, target=LINK_TARGET)
    return _Base(stream, zlib.crc32(before), len(before), pending)


@contextmanager
def _opened(kind: str) -> Iterator[Archive]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "a")
        # A file of two pieces; the index has none of zstd.
        large = bytes((1 << 20) + 1 if kind == "gzip" else 1)
        files = cached("registry.example/a:1", one()) | {blob_name(Digest.of(large)): large}
        path.write_bytes(written(kind, files))
        yield open_archive(path)


def _decompressed(stream: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True).read()


def with_index(kind: str, raw: bytes) -> bytes:
    """The stream of an archive in which all is right but for its index, which is this."""
    base = _base(kind)
    header = base.pending + tar_header.header(tar_header.FILE, ARCHIVE_INDEX, size=len(raw))
    rest = tar_header.padding(len(raw))
    rest += tar_header.end(base.size + len(header) + len(raw) + len(rest))
    before = base.stream + _unit(kind, header)
    data = _unit(kind, raw)
    footer = Footer(len(before), len(data)).payload()
    stream = before + data + _unit(kind, rest)
    if kind == "zstd":
        return stream + struct.pack("<II", 0x184D2A5D, len(footer)) + footer + _NO_SEEK_TABLE
    crc = zlib.crc32(header + raw + rest, base.crc)
    size = base.size + len(header) + len(raw) + len(rest)
    stream += _LAST_BLOCK + struct.pack("<II", crc, size & 0xFFFFFFFF)
    return stream + bytes.fromhex("1f8b0804 00000000 00ff 1c00 4847 1800") + footer + _LAST_BLOCK + bytes(8)


def _unit(kind: str, data: bytes) -> bytes:
    if kind == "zstd":
        return zstandard.ZstdCompressor(level=1).compress(data)
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush(zlib.Z_FULL_FLUSH)
