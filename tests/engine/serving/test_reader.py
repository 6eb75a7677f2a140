"""Blobs on their way out of holdings: checked, bounded, and noticed when they change."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from isal import isal_zlib

from hangar_async.archive import formats
from hangar_async.engine.open_layout import seekable_layout_at
from hangar_async.engine.serving.buffers import LARGE, MOST_IDLE, MOST_LARGE, SMALL, Buffers, Readers
from hangar_async.engine.serving.reader import BlobReader
from hangar_async.errors import ArchiveError, ContentError, DigestMismatch, HangarError, StorageError
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.files import LayoutReader, blob_name
from hangar_async.oci.digest import Digest
from tests.archive.samples import write
from tests.engine.forms import Saved
from tests.engine.serving.rig import DATA, put

DIGEST = Digest.of(DATA)


def blobs(reader_directory: Path) -> BlobReader:
    return BlobReader(DirectoryLayout(reader_directory))


async def opened(reader_directory: Path) -> BlobReader:
    return await asyncio.to_thread(blobs, reader_directory)


async def pieces(held: BlobReader, digest: Digest = DIGEST, start: int = 0, stop: int | None = None) -> list[bytes]:
    return [bytes(piece) async for piece in held.read(digest, start, len(DATA) if stop is None else stop)]


async def failing(held: BlobReader, digest: Digest = DIGEST, size: int = len(DATA)) -> tuple[bytes, HangarError]:
    """Read a blob that goes wrong: what came before that, and the error."""
    got = bytearray()
    with pytest.raises(HangarError) as failed:
        async for piece in held.read(digest, 0, size):
            got += piece
    return bytes(got), failed.value


@pytest.mark.parametrize("form", ["gzip", "zstd", "gzip-12", "zstd-3", "dir"])
async def test_every_blob_of_every_form(everything: Saved, form: str) -> None:
    held = await asyncio.to_thread(lambda: BlobReader(seekable_layout_at(everything.at(form))))
    for built in everything.built.values():
        for digest, data in {**built.blobs, **{one: raw for one, (_, raw) in built.documents.items()}}.items():
            for start, stop in ((0, len(data)), (0, len(data)), (len(data) // 3, len(data)), (1, len(data) // 2)):
                if start < stop:
                    assert b"".join(await pieces(held, digest, start, stop)) == data[start:stop]
    assert held.readers.idle <= MOST_IDLE
    assert held.buffers.lent == 0
    held.close()
    assert held.readers.idle == 0


async def test_pieces_are_large_and_the_last_is_checked(reader_directory: Path) -> None:
    held = await opened(reader_directory)
    assert [len(piece) for piece in await pieces(held)] == [LARGE, LARGE, LARGE, 12_345]
    assert (held.buffers.lent, held.buffers.peak, held.readers.idle) == (0, 1, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, len(DATA)), st.integers(0, len(DATA)))
def test_any_part_of_it(tmp_path_factory: pytest.TempPathFactory, start: int, stop: int) -> None:
    reader_directory = tmp_path_factory.getbasetemp() / "any-part"
    if not reader_directory.exists():
        put(reader_directory, DATA)
    start, stop = min(start, stop), max(start, stop)
    if start < stop:
        assert b"".join(asyncio.run(pieces(blobs(reader_directory), DIGEST, start, stop))) == DATA[start:stop]


async def test_a_damaged_blob_lacks_its_end(reader_directory: Path) -> None:
    put(reader_directory, DATA[:-1] + bytes([DATA[-1] ^ 1]), DIGEST)
    held = await opened(reader_directory)
    for _ in range(2):
        got, error = await failing(held)
        assert got == DATA[: 3 * LARGE]
        assert isinstance(error, DigestMismatch)
        assert str(DIGEST) in str(error)
    assert (held.buffers.lent, held.readers.idle) == (0, 0)


@pytest.mark.parametrize(("data", "said"), [(b"wrong", b"right"), (b"", b"right")])
async def test_of_a_small_one_nothing_is_sent(tmp_path: Path, data: bytes, said: bytes) -> None:
    put(tmp_path, data, Digest.of(said))
    held = await opened(tmp_path)
    got, error = await failing(held, Digest.of(said), len(data))
    assert got == b""
    assert isinstance(error, DigestMismatch)
    if data:
        with pytest.raises(DigestMismatch):
            await anext(held.read(Digest.of(said), 1, len(data), checked=True))


async def test_an_empty_blob_has_no_pieces(tmp_path: Path) -> None:
    put(tmp_path, b"")
    assert await pieces(await opened(tmp_path), Digest.of(b""), 0, 0) == []


async def test_an_intact_blob_is_hashed_once(reader_directory: Path, hashed: list[int]) -> None:
    held = await opened(reader_directory)
    # A part of it says nothing about the rest.
    await pieces(held, start=5)
    assert hashed == []
    assert b"".join(await pieces(held)) == DATA
    assert sum(hashed) == len(DATA)
    assert b"".join(await pieces(held)) == DATA
    assert await join(held.read(DIGEST, 7, len(DATA), checked=True)) == DATA[7:]
    assert sum(hashed) == len(DATA)


async def test_a_crowd_costs_little_more_than_one(reader_directory: Path, hashed: list[int]) -> None:
    held = await opened(reader_directory)
    assert await asyncio.gather(*(join(held.read(DIGEST, 0, len(DATA))) for _ in range(50))) == [DATA] * 50
    # While it is sent to the first, and perhaps once more for those who are faster.
    assert sum(hashed) <= 2 * len(DATA)


async def test_a_slow_client_holds_up_no_hash(reader_directory: Path, hashed: list[int]) -> None:
    held = await opened(reader_directory)
    first = held.read(DIGEST, 0, len(DATA))
    await anext(first)
    assert await asyncio.gather(*(join(held.read(DIGEST, 0, len(DATA))) for _ in range(5))) == [DATA] * 5
    assert sum(hashed) == LARGE + len(DATA)
    await first.aclose()
    (reader_directory / blob_name(DIGEST)).write_bytes(bytes(len(DATA)))
    first = held.read(DIGEST, 0, len(DATA))
    await anext(first)
    got, error = await failing(held)
    assert got == bytes(3 * LARGE)
    assert isinstance(error, DigestMismatch)
    await first.aclose()
    # One that hashed and went away leaves it to the next.
    assert held._hashing == set()


async def test_a_changed_blob_is_hashed_again(reader_directory: Path, hashed: list[int]) -> None:
    held = await opened(reader_directory)
    await pieces(held)
    path = reader_directory / blob_name(DIGEST)
    os.utime(path, ns=(0, 0))
    assert b"".join(await pieces(held)) == DATA
    assert sum(hashed) == 2 * len(DATA)
    path.write_bytes(bytes(len(DATA)))
    got, error = await failing(held)
    assert got == bytes(3 * LARGE)
    assert isinstance(error, DigestMismatch)


async def test_a_checked_read_hashes_all_before_its_first_piece(reader_directory: Path, hashed: list[int]) -> None:
    held = await opened(reader_directory)
    for start in (0, 5):
        assert await join(held.read(DIGEST, start, len(DATA), checked=True)) == DATA[start:]
        assert sum(hashed) == len(DATA)
    (reader_directory / blob_name(DIGEST)).write_bytes(bytes(len(DATA)))
    for start in (0, 5):
        with pytest.raises(DigestMismatch):
            await anext(held.read(DIGEST, start, len(DATA), checked=True))


def touch(path: Path) -> None:
    os.utime(path, ns=(0, 0))


def empty(path: Path) -> None:
    path.write_bytes(bytes(len(DATA)))


@pytest.mark.parametrize("change", [touch, empty])
async def test_a_blob_changed_between_check_and_sending_is_found(
    reader_directory: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    held = await opened(reader_directory)
    path = reader_directory / blob_name(DIGEST)
    take, calls = Readers.take, 0

    def changing(self: Readers, name: str, place: int) -> LayoutReader:
        nonlocal calls
        calls += 1
        # Behind the pieces that are hashed.
        if calls == len(DATA) // LARGE + 2:
            change(path)
        return take(self, name, place)

    monkeypatch.setattr(Readers, "take", changing)
    reading = held.read(DIGEST, 5, len(DATA), checked=True)
    if change is touch:
        assert await join(reading) == DATA[5:]
    else:
        with pytest.raises(ContentError, match=r"is damaged|was changed while it was read"):
            await anext(reading)


def overwrite(path: Path) -> None:
    """Change a file where it is."""
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")


def shorten(path: Path) -> None:
    os.truncate(path, 1000)


def replace(path: Path) -> None:
    path.with_suffix(".new").write_bytes(path.read_bytes())
    path.with_suffix(".new").replace(path)


CHANGES = [overwrite, shorten, replace, Path.unlink]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
async def test_a_directory_that_changes_while_it_is_served(
    reader_directory: Path, change: Callable[[Path], None], known: bool
) -> None:
    held = await opened(reader_directory)
    if known:
        await pieces(held)
    reading = held.read(DIGEST, 0, len(DATA))
    assert await anext(reading) == DATA[:LARGE]
    await asyncio.to_thread(change, reader_directory / blob_name(DIGEST))
    with pytest.raises((StorageError, ContentError), match=r"changed|No such file|too early"):
        await anext(reading)
    assert (held.buffers.lent, held.readers.idle) == (0, 0)


@pytest.mark.parametrize("form", ["gzip", "gzip-3", "zstd", "zstd-3"])
@pytest.mark.parametrize("change", CHANGES)
async def test_an_archive_that_changes_while_it_is_served(
    everything: Saved, tmp_path: Path, form: str, change: Callable[[Path], None]
) -> None:
    path = everything.copy(form, tmp_path)
    held = await asyncio.to_thread(lambda: BlobReader(seekable_layout_at(path)))
    digest, data = max(
        (one for built in everything.built.values() for one in built.blobs.items()), key=lambda one: len(one[1])
    )
    assert len(data) > 2 * SMALL
    # All large buffers are in use, so that it takes several pieces.
    held.buffers = Buffers(0)
    reading = held.read(digest, 0, len(data))
    assert await anext(reading) == data[:SMALL]
    for part in [path, *path.parent.glob(f"{path.name}.part*")]:
        if part.exists():
            await asyncio.to_thread(change, part)
    with pytest.raises((ArchiveError, StorageError), match=r"has changed since|No such file"):
        await anext(reading)
    got, error = await failing(held, digest, len(data))
    assert got == b""
    assert isinstance(error, ArchiveError | StorageError)
    assert held.readers.idle == 0


async def test_hundreds_of_slow_clients_hold_little(reader_directory: Path) -> None:
    held = await opened(reader_directory)
    readings = [held.read(DIGEST, 0, len(DATA)) for _ in range(300)]
    first = await asyncio.gather(*(anext(reading) for reading in readings))
    sizes = [len(piece) for piece in first]
    assert sizes.count(LARGE) == held.buffers.lent == held.buffers.peak == MOST_LARGE
    assert sizes.count(SMALL) == 300 - MOST_LARGE
    assert held.readers.idle <= MOST_IDLE
    # Each goes on where it stood, in any order of closing.
    rest = await asyncio.gather(*(join(reading) for reading in readings))
    assert {len(tail) for tail in rest} == {len(DATA) - LARGE, len(DATA) - SMALL}
    assert all(DATA.endswith(tail) for tail in rest)
    assert (held.buffers.lent, held.buffers.peak) == (0, MOST_LARGE)
    assert held.readers.idle <= MOST_IDLE


async def join(reading: AsyncIterator[memoryview]) -> bytes:
    return b"".join([bytes(piece) async for piece in reading])


async def test_fast_clients_get_large_pieces_and_slow_clients_small_ones(tmp_path: Path) -> None:
    data = bytes(6 << 20)
    put(tmp_path, data)
    held = await opened(tmp_path)
    reading = held.read(Digest.of(data), 0, len(data))
    sizes = [len(await anext(reading)), len(await anext(reading))]
    for _ in range(20):
        await asyncio.sleep(0)
    sizes += [len(piece) async for piece in reading]
    # It has to take some MiB at once before it is trusted again.
    assert sizes[:2] == [LARGE] * 2
    assert sizes[2:34] == [SMALL] * 32
    assert sizes[34] == LARGE
    assert sum(sizes) == len(data)
    assert held.buffers.lent == 0


class Inflated:
    """The number of bytes that decoders gave in all; more than `most` fail the test."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0

    def inflater(self) -> Any:
        return Counting(self)


class Counting:
    """A decoder of DEFLATE that counts its output."""

    def __init__(self, total: Inflated) -> None:
        self._decoder = isal_zlib.decompressobj(-15)
        self._total = total

    def decompress(self, data: bytes, size: int = 0) -> bytes:
        content = self._decoder.decompress(data, size)
        self._total.size += len(content)
        assert self._total.size <= self._total.most
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)


async def test_slow_clients_of_a_deflated_layer_cost_a_piece_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(64 << 20)
    await asyncio.to_thread(write, tmp_path / "a", "gzip", [data], sync=False)
    held = await asyncio.to_thread(lambda: BlobReader(seekable_layout_at(tmp_path / "a")))
    # All are slow, and more than there are readers that may wait: each piece is read by a reader that is opened for it.
    held.buffers = Buffers(0)
    clients, size = 40, 2 << 20
    inflated = Inflated(clients * (size // SMALL) * (LARGE + SMALL))
    monkeypatch.setattr(formats, "inflater", inflated.inflater)
    readings = [held.read(Digest.of(data), len(data) - size - number, len(data)) for number in range(clients)]
    received = [0] * clients
    for _ in range(size // SMALL + 1):
        for number, piece in enumerate(await asyncio.gather(*(anext(reading, b"") for reading in readings))):
            assert not any(piece[:100])
            received[number] += len(piece)
    assert received == [size + number for number in range(clients)]
    assert inflated.size > clients * size
    assert held.readers.idle <= MOST_IDLE
    held.close()


async def test_a_client_that_goes_leaves_nothing_in_use(reader_directory: Path) -> None:
    held = await opened(reader_directory)
    async with aclosing(held.read(DIGEST, 0, len(DATA))) as reading:
        await anext(reading)
        assert held.buffers.lent == 1
    assert held.buffers.lent == 0
    held.close()
    assert held.readers.idle == 0


@pytest.mark.parametrize("steps", range(1, 6))
async def test_cancelled_at_any_moment(reader_directory: Path, steps: int) -> None:
    held = await opened(reader_directory)
    task = asyncio.create_task(pieces(held))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held.buffers.lent == 0
    held.close()
    assert b"".join(await pieces(held)) == DATA
