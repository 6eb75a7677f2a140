"""A blob is written piece by piece, and kept only if it is right."""

import asyncio
import itertools
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hangar_async.disk import Disk
from hangar_async.errors import DigestMismatch
from hangar_async.oci.digest import Digest
from hangar_async.store.content import ContentStore, open_store
from hangar_async.store.directory import PARTIALS
from tests.store.rig import DATA, DIGEST, partials, take_in


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
async def test_a_wrong_size_is_never_kept(store: ContentStore, size: int) -> None:
    with pytest.raises(DigestMismatch):
        await take_in(store, size=size)
    assert not store.path(DIGEST).exists()
    assert partials(store) == []


async def test_wrong_bytes_are_never_kept_and_another_try_may_follow(store: ContentStore) -> None:
    async with store.ingest(DIGEST, len(DATA)) as ingest:
        await ingest.write(bytes(len(DATA)))
        with pytest.raises(DigestMismatch, match=f"asked for {DIGEST}"):
            await ingest.commit()
        assert ingest.offset == 0
        await ingest.write(DATA[:7])
        await ingest.restart()
        await ingest.write(DATA)
        await ingest.commit()
    assert await store.contains(DIGEST, len(DATA))


async def test_an_uncommitted_ingest_stays_for_the_next_one_and_is_no_blob(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        async with store.ingest(DIGEST, len(DATA)) as ingest:
            await ingest.write(DATA[:3000])
        assert partials(store) == [f"sha256-{DIGEST.hex}.{len(DATA)}"]
        assert not await store.contains(DIGEST, len(DATA))
        async with store.ingest(DIGEST, len(DATA)) as ingest:
            assert ingest.offset == ingest.resumed == 3000
            await ingest.write(DATA[3000:4000])
    async with open_store(tmp_path) as store, store.ingest(DIGEST, len(DATA)) as ingest:
        assert ingest.offset == 4000
        await ingest.write(DATA[4000:])
        await ingest.commit()
    assert store.path(DIGEST).read_bytes() == DATA
    assert partials(store) == []


async def test_one_that_got_nothing_leaves_nothing(store: ContentStore) -> None:
    async with store.ingest(DIGEST, len(DATA)):
        pass
    async with store.ingest(DIGEST, len(DATA)) as ingest:
        await ingest.write(DATA)
        await ingest.restart()
    assert partials(store) == []


@pytest.mark.parametrize("left", [b"X" + DATA[1:], DATA[:10] + b"X" * 20])
async def test_a_damaged_partial_file_is_found(tmp_path: Path, left: bytes) -> None:
    async with open_store(tmp_path) as store:
        (store.root / PARTIALS / f"sha256-{DIGEST.hex}.{len(DATA)}").write_bytes(left)
    async with open_store(tmp_path) as store, store.ingest(DIGEST, len(DATA)) as ingest:
        assert ingest.resumed == len(left)
        await ingest.write(DATA[len(left) :])
        with pytest.raises(DigestMismatch, match=f"{len(left)} of them were of an earlier run") as caught:
            await ingest.commit()
        assert not caught.value.uses_try
        assert ingest.offset == ingest.resumed == 0
        await ingest.write(bytes(len(DATA)))
        with pytest.raises(DigestMismatch) as caught:
            await ingest.commit()
        assert caught.value.uses_try
        await ingest.write(DATA)
        await ingest.commit()
    assert store.path(DIGEST).read_bytes() == DATA


async def test_a_partial_file_of_other_content_is_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(DATA[:10])
    name = f"sha256-{DIGEST.hex}.{len(DATA)}"
    for make in (
        lambda path: path.write_bytes(DATA + b"more"),
        lambda path: path.write_bytes(b""),
        lambda path: path.symlink_to(tmp_path / "elsewhere"),
        lambda path: path.mkdir(),
        os.mkfifo,
    ):
        async with open_store(tmp_path / "cache") as store:
            make(store.root / PARTIALS / name)
        async with open_store(tmp_path / "cache") as store:
            async with store.ingest(DIGEST, len(DATA)) as ingest:
                assert ingest.offset == 0
                await ingest.write(DATA[:5])
                await ingest.restart()
            assert partials(store) == []
    assert (tmp_path / "elsewhere").read_bytes() == DATA[:10]


async def test_partial_files_of_another_form_go_and_others_when_nobody_wants_them(tmp_path: Path) -> None:
    kept = f"sha512-{'a' * 128}.7"
    async with open_store(tmp_path) as store:
        for name in (kept, f"sha256-{'a' * 64}", f"sha256-{'a' * 63}.7", "other", ".hidden"):
            (store.root / PARTIALS / name).write_bytes(b"x")
        (store.root / PARTIALS / "directory" / "below").mkdir(parents=True)
    async with open_store(tmp_path) as store:
        assert partials(store) == [kept]
        await store.forget_partials()
        assert partials(store) == []


async def test_a_cancelled_ingest_keeps_what_came(store: ContentStore) -> None:
    begun = asyncio.Event()

    async def forever() -> None:
        async with store.ingest(DIGEST, 1 << 40) as ingest:
            while True:
                await ingest.write(DATA)
                begun.set()

    task = asyncio.create_task(forever())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert partials(store) == [f"sha256-{DIGEST.hex}.{1 << 40}"]
    async with store.ingest(DIGEST, 1 << 40) as ingest:
        assert ingest.offset >= len(DATA)
        assert ingest.offset % len(DATA) == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(data=st.binary(max_size=5000), cuts=st.lists(st.integers(0, 5000), max_size=6))
def test_any_pieces_make_the_blob(tmp_path: Path, data: bytes, cuts: list[int]) -> None:
    async def run() -> None:
        async with open_store(tmp_path) as store, store.ingest(Digest.of(data), len(data)) as ingest:
            edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
            for start, stop in itertools.pairwise(edges):
                await ingest.write(data[start:stop])
            await ingest.commit()
        assert store.path(Digest.of(data)).read_bytes() == data

    asyncio.run(run())


@pytest.mark.parametrize("write_back", [True, False])
async def test_the_disk_begins_to_write_while_a_blob_still_comes(tmp_path: Path, *, write_back: bool) -> None:
    class Noting(Disk):
        hints = 0

        def write_back(self, descriptor: int) -> None:
            super().write_back(descriptor)
            self.hints += 1

    disk, data = Noting(), bytes(20 << 20)
    digest = Digest.of(data)
    async with open_store(tmp_path / "cache", disk, write_back=write_back) as store:
        async with store.ingest(digest, len(data)) as ingest:
            for start in range(0, len(data), 1 << 20):
                await ingest.write(memoryview(data)[start : start + (1 << 20)])
            await ingest.commit()
        async with store.ingest(Digest.of(b"small"), 5) as ingest:
            await ingest.write(b"small")
            await ingest.commit()
        assert store.path(digest).read_bytes() == data
    # Every 8 MiB, and at the end; a small blob is not worth it.
    assert disk.hints == (3 if write_back else 0)
