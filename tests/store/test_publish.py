import errno
import os
from pathlib import Path

import pytest

from hangar_async.disk import Disk
from hangar_async.errors import DigestMismatch, StorageError
from hangar_async.store.publish import PublishDirectory
from hangar_async.threads import Interrupted
from tests.fakes.faulty_disk import FaultyDisk

NAMES = frozenset({"share/sha256/one", "f1/oci-layout", "f1/index.json", "oci-layout", "index.json"})


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    root = tmp_path / "saved-image-cache"
    for name in [*NAMES, "share/sha256/stranger", "f0/index.json", ".lock", ".partial/x"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "f1" / "blobs").mkdir()
    (root / "blobs").symlink_to("share")
    return root


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_the_directory_holds_this_run_and_the_new_cache_the_rest(cache: Path, tmp_path: Path) -> None:
    size = PublishDirectory(cache, tmp_path / "out", NAMES, Disk()).run()
    assert size == sum(len(name) for name in NAMES)
    assert tree(tmp_path / "out") == {*NAMES, "blobs"}
    assert (tmp_path / "out" / "f1" / "blobs").is_dir()
    assert {"share/sha256/stranger", "f0/index.json"} <= tree(cache)
    assert sorted(os.listdir(tmp_path)) == ["out", "saved-image-cache"]


def test_no_new_cache_is_made_for_nothing(cache: Path, tmp_path: Path) -> None:
    (cache / "share/sha256/stranger").unlink()
    PublishDirectory(cache, tmp_path / "out", NAMES, Disk()).run()
    assert os.listdir(tmp_path) == ["out"]


def test_an_empty_directory_may_be_there(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    PublishDirectory(cache, tmp_path / "out", NAMES, Disk()).run()
    assert tree(tmp_path / "out") == {*NAMES, "blobs"}


def test_what_a_killed_run_moved_aside_becomes_part_of_the_new_cache(cache: Path, tmp_path: Path) -> None:
    left = tmp_path / ".saved-image-cache.aside" / "share" / "sha256" / "left"
    left.parent.mkdir(parents=True)
    left.write_text("left")
    PublishDirectory(cache, tmp_path / "out", NAMES, Disk()).run()
    assert {"share/sha256/stranger", "share/sha256/left"} <= tree(cache)


class OtherFileSystem(PublishDirectory):
    """A hand-over whose target lies on another file system."""

    def _rename(self) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")


def test_across_file_systems_it_is_copied_whole(cache: Path, tmp_path: Path) -> None:
    OtherFileSystem(cache, tmp_path / "out", NAMES, Disk()).run()
    assert tree(tmp_path / "out") == {*NAMES, "blobs"}
    assert os.readlink(tmp_path / "out" / "blobs") == "share"
    assert (tmp_path / "out" / "f1" / "blobs").is_dir()
    assert all((tmp_path / "out" / name).read_text() == name for name in NAMES)
    assert "share/sha256/one" not in tree(cache)
    assert sorted(os.listdir(tmp_path)) == ["out", "saved-image-cache"]


class Flipping(Disk):
    """A disk that changes a bit on its way."""

    def write(self, descriptor: int, data: bytes | memoryview, path: Path) -> None:
        super().write(descriptor, bytes([data[0] ^ 1]) + bytes(data[1:]), path)


def test_a_copy_that_went_wrong_is_found_and_the_cache_stays(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch, match="differs from"):
        OtherFileSystem(cache, tmp_path / "out", NAMES, Flipping()).run()
    assert tree(cache) >= NAMES
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [PublishDirectory, OtherFileSystem])
def test_a_full_disk_at_any_operation_loses_nothing(cache: Path, tmp_path: Path, kind: type[PublishDirectory]) -> None:
    disk = FaultyDisk()
    for number in range(200):
        disk.start(fail_at=number)
        try:
            kind(cache, tmp_path / "out", NAMES, disk).run()
        except StorageError:
            places = [tmp_path / "out", cache]
            held = [place for place in places if place.exists() and tree(place) >= NAMES]
            assert held, f"lost after operation {number}"
            if held == [tmp_path / "out"]:
                break  # only the last step, the new cache, was still to come
            continue
        break
    assert number > 5
    assert tree(tmp_path / "out") == {*NAMES, "blobs"}


def test_it_can_be_interrupted(cache: Path, tmp_path: Path) -> None:
    def stop() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        PublishDirectory(cache, tmp_path / "out", NAMES, Disk(), check_interrupted=stop).run()
    assert tree(cache) >= NAMES
    assert not (tmp_path / "out").exists()
