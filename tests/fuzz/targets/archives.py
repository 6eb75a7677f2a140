"""Archives: opened, checked, and read to the end in each possible way."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import zstandard

from hangar_async.archive import index
from hangar_async.archive.entries import ArchiveEntry, Encoding
from hangar_async.archive.formats import ZIP
from hangar_async.archive.names import ARCHIVE_INDEX
from hangar_async.archive.read.archive import Archive, open_archive
from hangar_async.archive.read.check import check_index, check_part, check_stream
from hangar_async.archive.read.decode import Decoder, EntryReader, Inflater, PieceReader, frames
from hangar_async.archive.read.docker_layers import read_layer
from hangar_async.archive.read.forms import archive_files, archive_layout
from hangar_async.archive.read.layout import stream_files
from hangar_async.archive.read.search import find_volume
from hangar_async.archive.read.volume import Volume
from hangar_async.errors import ArchiveError, ContentError
from hangar_async.layout.files import CACHE_NAME, blob_name
from hangar_async.layout.images import read_images
from hangar_async.oci.digest import Digest
from tests.archive.samples import encoded_index
from tests.fakes import sources
from tests.fuzz import samples
from tests.fuzz.targets.words import check_reference
from tests.refusal import attempt, check_told

#: The size and the digest of each file.
Files = dict[str, tuple[int, str]]
_ENCODINGS: tuple[Encoding, ...] = ("stored", "deflate", "zstd")
_SIZE = struct.Struct("<BHB")
_CUT = struct.Struct("<HH")
_PIECE = 1 << 16
_PARTS = {"a.part0": 10, "a.part1": 10, "a.part2": 3, "a.part00": 10, "b": 1}


def archive(data: bytes) -> None:
    """Read a file as an archive: its index, its tar, all files, the images in it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "a")
        path.write_bytes(data)
        opened = attempt(lambda: open_archive(path), ArchiveError)
        if opened is not None:
            _read(opened)


def tar(data: bytes) -> None:
    """Read a tar that is well compressed as an archive without an index; Python's reader finds no other files."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "a")
        path.write_bytes(zstandard.ZstdCompressor(level=1).compress(data))
        files = _read(open_archive(path))
    if files is not None:
        python_files = _as_python_does(data)
        # It takes a header that it cannot read for the end.
        assert list(files.items())[: len(python_files)] == list(python_files.items())


def docker_archive(data: bytes) -> None:
    """Read a plain tar as a docker-archive, in place and in one pass: both find the same images and content."""
    found = [_images_of(pack(data)) for pack in (bytes, zstandard.ZstdCompressor(level=1).compress)]
    # A tar may begin as another format does.
    assert found[0] == found[1] or None in found


def docker_layer(data: bytes) -> None:
    """Read a layer in one piece and in several: its digests are the same, and those that other decoders find."""
    whole, cut = (read_layer(iter(pieces), lambda: None) for pieces in ([data], [data[:7], data[7:300], data[300:]]))
    # Of a zstd frame whose end is missing all may come at once, and less by pieces.
    assert whole == (replace(cut, diff_id=whole.diff_id) if whole.descriptor.media_type.endswith("zstd") else cut)
    if whole.packed:
        assert whole.diff_id == str(Digest.of(data))
        return
    assert whole.descriptor.digest == Digest.of(data)
    if whole.diff_id and whole.descriptor.media_type.endswith("gzip"):
        assert whole.diff_id == str(Digest.of(gzip.decompress(data)))


def docker_list(data: bytes) -> None:
    """Read an archive that has this for the list of its images."""
    _images_of(sources.tar({**samples.docker(), "manifest.json": data}))


def zip_archive(data: bytes) -> None:
    """Read a zip: its directory, all files, the images in it."""
    archive(data)


def hauler_index(data: bytes) -> None:
    """Read a haul that has this for its index."""
    _images_of(sources.tar({**samples.haul(), "index.json": data}))


def _images_of(data: bytes) -> list[tuple[str, str, Files]] | None:
    """Read the images of an archive of another program, and all of its files; None where that fails."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "a")
        path.write_bytes(data)
        opened = attempt(lambda: open_archive(path), ArchiveError)
        return None if opened is None else attempt(lambda: _all_images(opened), ArchiveError, ContentError)


def _all_images(opened: Archive) -> list[tuple[str, str, Files]]:
    _check_catalog(opened)
    layout = archive_layout(opened)
    images = read_images(layout).images
    files = {file.name: _summed(file.pieces) for file in layout.files()}
    return [(image.name, str(image.digest), files) for image in images]


def archive_index(data: bytes) -> None:
    """Read an archive that has this for its index: by itself, and at the end of an archive of either kind."""
    decoded = attempt(lambda: index.decode(data, 1 << 40), ValueError)
    if decoded is not None:
        assert index.decode(encoded_index(decoded.compression, decoded.entries), 1 << 40) == decoded
    for kind in samples.KINDS:
        archive(samples.with_index(kind, data))


def content(data: bytes) -> None:
    """Read the data of one file in each encoding: content has the declared size, and is the same to other readers.

    The first byte is of the encoding, and of the number of cuts, which follow: where a piece ends, and its size.
    """
    if len(data) < _SIZE.size:
        return
    choice, size, start = _SIZE.unpack_from(data)
    encoding, count = _ENCODINGS[choice % 3], choice // 3 % 4
    packed = data[_SIZE.size + count * _CUT.size :]
    cuts = list(_CUT.iter_unpack(data[_SIZE.size : _SIZE.size + count * _CUT.size])) if packed and count else []
    if cuts and encoding != "stored" and [end for end, _ in cuts] == sorted({end for end, _ in cuts} - {0}):
        _check_pieces(packed, encoding, [*cuts, (len(packed), size - sum(size for _, size in cuts))])
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "a").write_bytes(packed + b"\0")
        opened = Archive(find_volume(Path(directory, "a")), "zstd", None)
        entry = ArchiveEntry("blob", Digest.of(b""), size, 0, len(packed), encoding)
        whole = attempt(lambda: _all_of(opened.open(entry)), ArchiveError)
        rest = attempt(lambda: _all_of(opened.open(entry, start)), ArchiveError)
    if whole is not None:
        assert len(whole) == size
        # Of a frame whose end is missing all may come at once, and less by pieces.
        assert rest == whole[start:] or (rest is None and encoding == "zstd")
        other = _unpacked(packed, encoding)
        # Of a frame whose end is missing its decoder gives no content after the size declared.
        assert other is None or whole == (other[:size] if encoding == "zstd" else other)


def _check_pieces(packed: bytes, encoding: Encoding, pieces: list[tuple[int, int]]) -> None:
    """Read pieces from each of them on: all have the bytes of the whole, and the whole is the same to other readers."""
    if pieces[-1][1] < 0 or pieces[-2][0] >= len(packed):
        return
    decode = Inflater if encoding == "deflate" else frames

    def read(number: int) -> bytes:
        content = bytearray(sum(size for _, size in pieces[number:]) + 1)
        with volume.open(pieces[number - 1][0] if number else 0, len(packed)) as window:
            reader = Decoder(window, lambda window: PieceReader(window, iter(pieces[number:]), decode))
            return bytes(content[: reader.readinto(memoryview(content))])

    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "a").write_bytes(packed + b"\0")
        volume = find_volume(Path(directory, "a"))
        whole = attempt(lambda: read(0), ArchiveError)
        rests = [attempt(partial(read, number), ArchiveError) for number in range(1, len(pieces))]
    if whole is not None:
        assert [rest and whole[len(whole) - len(rest) :] for rest in rests] == rests
        assert [len(rest) for rest in rests if rest is not None] == [
            sum(size for _, size in pieces[number:]) for number, rest in enumerate(rests, 1) if rest is not None
        ]
        if encoding == "deflate":
            assert None not in rests
            assert whole == _unpacked(packed, encoding)


def parts(data: bytes) -> None:
    """Find the parts of an archive beside a list of digests."""
    with tempfile.TemporaryDirectory() as directory:
        for name, size in _PARTS.items():
            Path(directory, name).write_bytes(bytes(size))
        Path(directory, "a.sha256").write_bytes(data)
        for name in ("a", "a.part1", "a.part00"):
            volume = attempt(partial(find_volume, Path(directory, name)), ArchiveError)
            if volume is not None:
                _check_volume(volume)


def _check_volume(volume: Volume) -> None:
    names = [part.path.name for part in volume.parts]
    sizes = [_PARTS[name] for name in names]
    assert [part.start for part in volume.parts] == [sum(sizes[:number]) for number in range(len(names))]
    assert volume.size == sum(sizes)
    assert not {path.name for path in volume.strays} & set(names)
    for part in volume.parts:
        attempt(partial(check_part, volume, part, lambda _: None), ArchiveError)


def _read(opened: Archive) -> Files | None:
    """Read all of an archive, and return the files that a pass over it finds, or None where that fails.

    When all checks are passed, the index leads to the same.
    """
    attempt(lambda: _check_catalog(opened), ArchiveError, ContentError)
    if opened.compression == ZIP:
        return None
    passed = attempt(lambda: _checked(opened), ArchiveError)
    streamed = attempt(lambda: _streamed(opened), ArchiveError)
    indexed = attempt(lambda: _indexed(opened), ArchiveError)
    if passed and indexed is not None and opened.index is not None:
        assert streamed == {f"{CACHE_NAME}/{name}": summed for name, summed in indexed.items()}
    return streamed


def _checked(opened: Archive) -> bool:
    check_index(opened)
    check_stream(opened, lambda: None)
    return True


def _streamed(opened: Archive) -> Files:
    return {file.name: _summed(iter(partial(file.read, _PIECE), b"")) for file in stream_files(opened)}


def _indexed(opened: Archive) -> Files:
    return {file.name: _summed(file.pieces) for file in archive_files(opened).files()}


def _check_catalog(opened: Archive) -> None:
    layout = archive_layout(opened)
    sizes = layout.sizes()
    for image in read_images(layout).images:
        check_reference(image.reference)
        for blob in image.contents:
            missing = blob_name(blob.digest) not in sizes
            assert not missing or image.problems
        for problem in image.problems:
            check_told(ContentError(problem))


def _summed(pieces: Iterable[bytes | memoryview]) -> tuple[int, str]:
    hasher, size = hashlib.sha256(), 0
    for piece in pieces:
        hasher.update(piece)
        size += len(piece)
    return size, hasher.hexdigest()


def _as_python_does(data: bytes) -> Files:
    files: Files = {}
    with suppress(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8") as opened:
        for member in opened:
            file = opened.extractfile(member) if member.isreg() else None
            if file is not None and member.name.removeprefix("./") != ARCHIVE_INDEX:
                files[member.name.removeprefix("./")] = _summed([file.read()])
    return files


def _all_of(reader: EntryReader) -> bytes:
    with reader:
        return reader.readall()


def _unpacked(packed: bytes, encoding: Encoding) -> bytes | None:
    """Decode it with another decoder; None where that fails."""
    try:
        if encoding == "zstd":
            return zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True).read()
        return zlib.decompressobj(-15).decompress(packed)
    except (zlib.error, zstandard.ZstdError):
        return None
