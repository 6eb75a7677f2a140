import asyncio
import errno
import itertools
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hangar_async.errors import ContentError, DigestMismatch, StorageError, UsageError
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.store import content
from hangar_async.store.content import PARTIALS, ContentStore, open_store
from tests.fakes.faulty_disk import FaultyDisk

DATA = b"layer" * 1000
DIGEST = Digest.of(DATA)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ContentStore]:
    async with open_store(tmp_path / "cache") as opened:
        yield opened


async def take_in(
    store: ContentStore, data: bytes = DATA, digest: Digest | None = None, size: int | None = None
) -> None:
    async with store.ingest(digest or Digest.of(data), len(data) if size is None else size) as ingest:
        for start in range(0, len(data), 1024):
            await ingest.write(data[start : start + 1024])
        await ingest.commit()


def partials(store: ContentStore) -> list[str]:
    return os.listdir(store.root / PARTIALS)


async def test_what_was_committed_is_there(store: ContentStore) -> None:
    assert not await store.contains(DIGEST, len(DATA))
    await take_in(store)
    assert await store.contains(DIGEST, len(DATA))
    assert store.path(DIGEST) == store.root / "share" / "sha256" / DIGEST.hex
    assert store.path(DIGEST).read_bytes() == DATA
    assert await store.read(DIGEST, len(DATA)) == DATA
    assert partials(store) == []


async def test_other_algorithms_and_empty_blobs(store: ContentStore) -> None:
    for data, algorithm in ((b"", "sha256"), (DATA, "sha512")):
        digest = Digest.of(data, algorithm)
        await take_in(store, data, digest)
        assert store.path(digest).read_bytes() == data


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


async def test_what_is_not_committed_stays_for_the_next_ingest_and_is_no_blob(tmp_path: Path) -> None:
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
async def test_what_was_left_may_be_damaged(tmp_path: Path, left: bytes) -> None:
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


async def test_what_cannot_be_the_beginning_is_not_taken_up(tmp_path: Path) -> None:
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


async def test_blobs_of_an_earlier_run_are_hashed_before_they_are_trusted(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await take_in(store)
    async with open_store(tmp_path) as store:
        assert await store.contains(DIGEST, len(DATA))
        assert await store.contains(DIGEST)
        assert not await store.contains(DIGEST, 3)
    store.path(DIGEST).write_bytes(DATA[:-1] + b"x")
    async with open_store(tmp_path) as store:
        assert not await store.contains(DIGEST, len(DATA))
        assert not store.path(DIGEST).exists()


@pytest.mark.parametrize("whole", [True, False])
async def test_a_blob_of_an_earlier_run_is_checked_once_whoever_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    async with open_store(tmp_path) as store:
        assert not store.has_earlier
        await take_in(store)
        assert not store.has_earlier
    if not whole:
        store.path(DIGEST).write_bytes(DATA[1:])
    checked: list[Digest] = []
    is_whole = content._is_whole

    async def counted(path: Path, digest: Digest) -> bool:
        checked.append(digest)
        return await is_whole(path, digest)

    monkeypatch.setattr(content, "_is_whole", counted)
    async with open_store(tmp_path) as store:
        assert store.has_earlier
        found = await asyncio.gather(*(store.contains(DIGEST) for _ in range(9)))
        assert found == [whole] * 9
        assert checked == [DIGEST]
        assert store.has_earlier == whole
        # What has come in the place of a damaged one is not touched again.
        await store.put(DATA, DIGEST)
        assert await store.contains(DIGEST)
        assert store.path(DIGEST).read_bytes() == DATA
        assert checked == [DIGEST]


async def test_a_link_in_the_store_is_not_followed_but_removed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(DATA)
    async with open_store(tmp_path / "cache") as store:
        pass
    store.path(DIGEST).symlink_to(elsewhere)
    async with open_store(tmp_path / "cache") as store:
        assert not await store.contains(DIGEST, len(DATA))
        assert not store.path(DIGEST).is_symlink()
        await take_in(store)
    assert not store.path(DIGEST).is_symlink()
    assert elsewhere.read_bytes() == DATA


async def test_a_blob_that_cannot_be_read_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(tmp_path) as store:
        await take_in(store)

    def broken(path: Path) -> BinaryIO:
        raise OSError(errno.EIO, "Input/output error")

    async with open_store(tmp_path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(content, "_open", broken)
            assert not await store.contains(DIGEST, len(DATA))
        await take_in(store)
        assert await store.read(DIGEST, len(DATA)) == DATA


async def test_what_is_missing_of_a_blob(tmp_path: Path) -> None:
    one, two, three = (Descriptor("x", Digest.of(name), 100) for name in (b"one", b"two", b"three"))
    async with open_store(tmp_path) as store:
        await store.put(b"one", one.digest)
        async with store.ingest(two.digest, two.size) as ingest:
            await ingest.write(bytes(30))
        assert [store.missing(each) for each in (one, two, three)] == [0, 70, 100]
    async with open_store(tmp_path) as store:
        assert [store.missing(each) for each in (one, two, three)] == [0, 70, 100]


async def test_two_runs_do_not_share_a_cache(store: ContentStore) -> None:
    with pytest.raises(UsageError, match=f"in use by process {os.getpid()} on "):
        async with open_store(store.root):
            pytest.fail("it was opened")


async def test_partials_of_a_killed_run_go(tmp_path: Path) -> None:
    async with open_store(tmp_path):
        (tmp_path / PARTIALS / "sha256-abc.0").write_bytes(b"half")
    async with open_store(tmp_path) as store:
        assert partials(store) == []


async def test_the_cache_is_made_for_its_owner_alone(store: ContentStore) -> None:
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700


async def test_documents(store: ContentStore) -> None:
    await store.put(DATA, DIGEST)
    assert await store.contains(DIGEST, len(DATA))
    assert await store.read(DIGEST, 1 << 20) == DATA
    with pytest.raises(ContentError, match="larger than 10 bytes"):
        await store.read(DIGEST, 10)


async def test_one_document_from_two_sides_at_once(store: ContentStore) -> None:
    for number in range(50):
        data = f"document {number}".encode()
        await asyncio.gather(*(store.put(data, Digest.of(data)) for _ in range(4)))
        assert store.path(Digest.of(data)).read_bytes() == data
    assert all(not path.name.startswith(".") for path in store.path(DIGEST).parent.iterdir())


async def test_every_failing_operation_is_told_and_leaves_nothing_wrong(tmp_path: Path) -> None:
    disk = FaultyDisk()
    async with open_store(tmp_path / "count", disk) as store:
        disk.start()
        await take_in(store)
    operations = disk.count
    assert operations >= 4
    for number in range(operations):
        disk = FaultyDisk()
        async with open_store(tmp_path / str(number), disk) as store:
            disk.start(fail_at=number)
            with pytest.raises(StorageError, match="No space left on device"):
                await take_in(store)
            disk.start()
            assert not store.path(DIGEST).exists()
            assert not await store.contains(DIGEST, len(DATA))
            async with store.ingest(DIGEST, len(DATA)) as ingest:
                await ingest.write(DATA[ingest.offset :])
                await ingest.commit()
            assert store.path(DIGEST).read_bytes() == DATA


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


async def test_what_vanishes_during_a_run(tmp_path: Path) -> None:
    """Somebody else has removed it: it is fetched again, and what is not fetched is an error of the disk."""
    async with open_store(tmp_path) as store:
        await take_in(store)
    async with open_store(tmp_path) as store:
        store.path(DIGEST).unlink()
        assert not await store.contains(DIGEST)
        with pytest.raises(StorageError, match=r"cannot read .*No such file"):
            await store.read(DIGEST, 10)


async def test_a_store_that_is_no_directory_any_more(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await take_in(store)
    async with open_store(tmp_path) as store:
        (tmp_path / "share" / "sha256").rename(tmp_path / "elsewhere")
        (tmp_path / "share" / "sha256").write_text("a file")
        with pytest.raises(StorageError, match=r"cannot look at .*Not a directory"):
            await store.contains(DIGEST)


async def test_a_store_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", broken)
        with pytest.raises(StorageError, match=r"cannot read .*share: Input/output error"):
            async with open_store(tmp_path):
                raise AssertionError
    # It is not held by a run that could not begin.
    async with open_store(tmp_path):
        pass
