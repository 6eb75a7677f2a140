"""Blobs and documents of a cache, of this run and of earlier ones."""

import asyncio
import errno
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest

from hangar_async.disk import Disk
from hangar_async.errors import ContentError, StorageError, UsageError
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image, ImagePlatform
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.media_types import OCI_MANIFEST
from hangar_async.oci.platform import Platform
from hangar_async.oci.reference import Reference
from hangar_async.store import content
from hangar_async.store.content import ContentStore, open_store, write_cache, write_image
from hangar_async.store.directory import PARTIALS
from tests.fakes.faulty_disk import FaultyDisk
from tests.store.rig import DATA, DIGEST, partials, take_in


async def test_committed_blobs_are_there(store: ContentStore) -> None:
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


async def test_the_missing_bytes_of_a_blob_are_counted(tmp_path: Path) -> None:
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


async def test_a_blob_that_vanishes_during_a_run_is_missing(tmp_path: Path) -> None:
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


PLATFORM = Platform("linux", "amd64")
DESCRIPTOR = Descriptor(OCI_MANIFEST, Digest.of(b"m"), 1, PLATFORM)
IMAGE = Image(Reference.parse("a:1"), DESCRIPTOR, (ImagePlatform(DESCRIPTOR, "e" * 64),))
WHEN = datetime(2024, 1, 1, tzinfo=UTC)


async def test_an_image_has_a_layout_of_its_own(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await write_image(store, IMAGE)
    folder = tmp_path / ("e" * 64)
    assert sorted(os.listdir(folder)) == ["blobs", "index.json", "oci-layout"]
    assert os.listdir(folder / "blobs") == []
    assert json.loads((folder / "index.json").read_text())["manifests"][0]["digest"] == str(DESCRIPTOR.digest)


async def test_the_cache_names_the_images_of_this_run_and_no_others(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        assert await write_cache(store, [IMAGE], WHEN)
        assert await write_cache(store, [], WHEN)
        assert await write_cache(store, [IMAGE], WHEN)
    assert os.readlink(tmp_path / "blobs") == "share"
    assert len(json.loads((tmp_path / "saved-images-list.json").read_text())["List"]) == 1
    assert len(json.loads((tmp_path / "index.json").read_text())["manifests"]) == 1


class Ordered(Disk):
    """A disk that notes the names of what is renamed and synced."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.done.append(("rename", target.name))

    def sync(self, path: Path) -> None:
        super().sync(path)
        self.done.append(("sync", path.name))


async def test_the_index_is_on_the_disk_before_the_list_has_its_name(tmp_path: Path) -> None:
    disk = Ordered()
    async with open_store(tmp_path / "cache", disk) as store:
        await write_cache(store, [], WHEN, sync=True)
    steps = [("rename", "index.json"), ("sync", "cache"), ("rename", "saved-images-list.json"), ("sync", "cache")]
    assert disk.done == [("rename", "oci-layout"), *steps]


class Linkless(Disk):
    """A file system without symbolic links, such as FAT."""

    def link(self, path: Path, target: str) -> bool:
        return False


async def test_a_file_system_without_links_is_told(tmp_path: Path) -> None:
    async with open_store(tmp_path, Linkless()) as store:
        assert not await write_cache(store, [IMAGE], WHEN)
    assert (tmp_path / "saved-images-list.json").exists()


@pytest.mark.parametrize(
    "names", [["blobs/", "index.json", "oci-layout"], ["notes.txt"], ["share/", "other"], [".git/"]]
)
async def test_a_directory_of_another_program_is_refused_unchanged(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        path = tmp_path / "cache" / name
        path.parent.mkdir(exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
            (path / "file").write_bytes(b"theirs")
        else:
            path.write_bytes(b"theirs")
    before = {path: path.is_file() and path.read_bytes() for path in (tmp_path / "cache").rglob("*")}
    with pytest.raises(UsageError, match="is a layout of another program"):
        async with open_store(tmp_path / "cache"):
            pass
    assert {path: path.is_file() and path.read_bytes() for path in (tmp_path / "cache").rglob("*")} == before


async def test_a_layout_whose_blobs_lie_elsewhere_is_refused_unchanged(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "cache" / "blobs").symlink_to("../shared")
    (tmp_path / "cache" / "index.json").write_bytes(b"theirs")
    with pytest.raises(UsageError, match="is a layout of another program"):
        async with open_store(tmp_path / "cache"):
            pass
    assert sorted(os.listdir(tmp_path / "cache")) == ["blobs", "index.json"]


@pytest.mark.parametrize(
    "names",
    [[], [".lock"], [".lock", "share"], ["lost+found"], ["saved-images-list.json", "blobs"], ["share", "index.json"]],
)
async def test_an_own_or_an_empty_directory_is_taken(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "cache").mkdir()
    for name in names:
        if "." in name:
            (tmp_path / "cache" / name).touch()
        else:
            (tmp_path / "cache" / name).mkdir()
    async with open_store(tmp_path / "cache") as store:
        assert store.root == tmp_path / "cache"


async def test_files_that_a_killed_run_moved_out_are_found(tmp_path: Path) -> None:
    """A run that makes its cache an output moves those of other runs aside."""
    async with open_store(tmp_path / "cache") as store:
        await take_in(store)
    (tmp_path / "cache").rename(tmp_path / ".cache.aside")
    partial = f"sha256-{'a' * 64}.100"
    (tmp_path / ".cache.aside" / PARTIALS / partial).write_bytes(b"begun")
    (tmp_path / "cache" / PARTIALS).mkdir(parents=True)
    async with open_store(tmp_path / "cache") as store:
        assert await store.contains(DIGEST)
        assert store.missing(Descriptor("x", Digest("sha256", "a" * 64), 100)) == 95
    assert os.listdir(tmp_path) == ["cache"]


async def test_files_of_the_cache_stay_as_they_are(tmp_path: Path) -> None:
    async with open_store(tmp_path / "cache") as store:
        await take_in(store)
        name = store.path(DIGEST).relative_to(store.root)
    (tmp_path / ".cache.aside" / name.parent).mkdir(parents=True)
    (tmp_path / ".cache.aside" / name).write_bytes(b"older")
    async with open_store(tmp_path / "cache") as store:
        assert await store.contains(DIGEST)
    assert os.listdir(tmp_path) == ["cache"]


async def test_a_lock_may_be_freed_before_the_end(tmp_path: Path) -> None:
    async with open_store(tmp_path / "cache") as store:
        store.unlock()
        async with open_store(tmp_path / "cache"):
            pass
