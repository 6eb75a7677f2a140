"""Outputs of a run: archives, parts, directories."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings
from hangar_async.disk import Disk
from hangar_async.engine.events import ArchiveProgress, Committing, Event, Notice
from hangar_async.errors import ContentError, StorageError
from hangar_async.layout import limits
from hangar_async.oci import graph
from hangar_async.testing.images import image, layer
from hangar_async.threads import in_thread
from tests.engine.forms import tree
from tests.engine.rig import BASE, count_entries, lines, read, run
from tests.fakes.faults import Cut, Status
from tests.fakes.images import AMD64
from tests.fakes.registry import FakeRegistry


def unpack(command: str, folder: Path) -> Path:
    target = folder / "unpacked"
    target.mkdir()
    subprocess.run(["bash", "-o", "pipefail", "-ec", f"{command} -C {target}"], cwd=folder, check=True)
    return target / "saved-image-cache"


def content(root: Path) -> dict[str, bytes | str]:
    """The files and links of a cache, without the index that an archive adds."""
    return {name: data for name, data in tree(root).items() if name != "archive-index.json" and data != "directory"}


@pytest.mark.parametrize(
    ("format_", "name", "command"),
    [("gzip", "out.tar.gz", "tar -xzf out.tar.gz"), ("zstd", "out.tar.zstd", "tar --zstd -xf out.tar.zstd")],
)
async def test_an_archive_holds_the_cache(
    four_apps: FakeRegistry, tmp_path: Path, format_: str, name: str, command: str
) -> None:
    report = await run(tmp_path, *lines(four_apps), format=format_)
    assert report.output is not None
    assert report.output.files == (tmp_path / name,)
    assert report.output.size == (tmp_path / name).stat().st_size
    unpacked = unpack(command, tmp_path)
    assert content(unpacked) == content(tmp_path / "saved-image-cache")
    assert (unpacked / "blobs" / "sha256" / BASE.digest.hex).read_bytes() == BASE.data
    assert all(not any((folder / "blobs").iterdir()) for folder in unpacked.iterdir() if len(folder.name) == 64)
    subprocess.run(["sha256sum", "-c", f"{name}.sha256"], cwd=tmp_path, check=True, capture_output=True)


async def test_the_order_of_an_archive_is_that_of_the_list(four_apps: FakeRegistry, tmp_path: Path) -> None:
    await run(tmp_path, *lines(four_apps), format="gzip", jobs=20)
    with tarfile.open(tmp_path / "out.tar.gz", "r|gz") as tar:
        members = list(tar)
    names = [member.name for member in members]
    assert len(names) == len(set(names))
    seen = {""}
    for member in members:
        assert str(Path(member.name).parent).removeprefix(".") in seen, f"{member.name} comes before its directory"
        if member.isdir():
            seen.add(member.name)
        assert (member.uid, member.gid, member.mtime) == (0, 0, 0)
    folders = [name.rpartition("/")[2] for name in names if len(name) == len("saved-image-cache/") + 64]
    listed = json.loads((tmp_path / "saved-image-cache" / "saved-images-list.json").read_text())["List"]
    assert folders == [item["Folder"] for image in listed for item in image["Images"]]
    assert names[-5:] == [
        f"saved-image-cache/{name}"
        for name in ("blobs", "oci-layout", "index.json", "saved-images-list.json", "archive-index.json")
    ]


@pytest.mark.parametrize("count", [3, 120])
async def test_parts_joined_are_the_archive(four_apps: FakeRegistry, tmp_path: Path, count: int) -> None:
    whole = await run(tmp_path, *lines(four_apps), format="gzip", destination=tmp_path / "whole.tar.gz")
    assert whole.output is not None
    size = -(-whole.output.size // count)
    report = await run(tmp_path, *lines(four_apps), format="gzip", part_size=size)
    assert report.output is not None
    assert abs(len(report.output.files) - count) <= 1
    sizes = [path.stat().st_size for path in report.output.files]
    assert set(sizes[:-1]) == {size}
    joined = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("out.tar.gz.part*")))
    assert joined == (tmp_path / "whole.tar.gz").read_bytes()
    assert content(unpack("cat out.tar.gz.part* | tar -xz", tmp_path)) == content(tmp_path / "saved-image-cache")
    subprocess.run(["sha256sum", "-c", "out.tar.gz.sha256"], cwd=tmp_path, check=True, capture_output=True)


async def test_only_the_images_of_this_run_go_in(four_apps: FakeRegistry, tmp_path: Path) -> None:
    await run(tmp_path, *lines(four_apps, 0, 1), format="gzip")
    await run(tmp_path, *lines(four_apps, 2), format="gzip")
    alone = tmp_path / "alone"
    alone.mkdir()
    await run(alone, *lines(four_apps, 2), format="gzip")
    assert (tmp_path / "out.tar.gz").read_bytes() == (alone / "out.tar.gz").read_bytes()
    assert len(json.loads((tmp_path / "saved-image-cache" / "index.json").read_text())["manifests"]) == 1


@pytest.mark.parametrize("epoch", [None, 1_700_000_000])
@pytest.mark.parametrize("format_", ["gzip", "zstd"])
async def test_the_same_content_makes_the_same_bytes(
    four_apps: FakeRegistry, tmp_path: Path, format_: str, epoch: int | None
) -> None:
    environment = Environment(source_date_epoch=epoch, registries=RegistrySettings())
    made = []
    for number, jobs in enumerate((1, 20, 7)):
        place = tmp_path / str(number)
        place.mkdir()
        report = await run(place, *lines(four_apps), format=format_, jobs=jobs, environment=environment)
        assert report.output is not None
        made.append(report.output.path.read_bytes())
        # From a full cache.
        again = await run(place, *lines(four_apps), format=format_, jobs=jobs, environment=environment)
        assert again.output is not None
        made.append(again.output.path.read_bytes())
    assert len(set(made)) == 1


async def test_source_date_epoch_is_the_time_of_everything(four_apps: FakeRegistry, tmp_path: Path) -> None:
    environment = Environment(source_date_epoch=1_700_000_000, registries=RegistrySettings())
    await run(tmp_path, *lines(four_apps, 0), format="gzip", environment=environment)
    with tarfile.open(tmp_path / "out.tar.gz") as tar:
        assert {member.mtime for member in tar} == {1_700_000_000}
        file = tar.extractfile("saved-image-cache/saved-images-list.json")
        assert file is not None
        assert json.load(file)["SavedTime"] == "2023-11-14T22:13:20Z"


async def test_an_earlier_archive_stays_when_nothing_was_saved_and_goes_when_something_was(
    four_apps: FakeRegistry, tmp_path: Path
) -> None:
    (tmp_path / "out.tar.gz").write_bytes(b"earlier")
    for number in range(3):
        (tmp_path / f"out.tar.gz.part{number}").write_bytes(b"stale")
    report = await run(tmp_path, f"{four_apps.address}/none:1", format="gzip")
    assert report.status == 3
    assert (tmp_path / "out.tar.gz").read_bytes() == b"earlier"
    report = await run(tmp_path, f"{four_apps.address}/none:1", *lines(four_apps, 0), format="gzip")
    assert report.status == 1
    assert (tmp_path / "out.tar.gz").read_bytes()[:2] == b"\x1f\x8b"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["failed.txt", "out.tar.gz", "out.tar.gz.sha256", "saved-image-cache"]


async def test_a_directory_takes_the_place_of_the_cache(four_apps: FakeRegistry, tmp_path: Path) -> None:
    await run(tmp_path, *lines(four_apps, 0, 1), format="gzip")
    report = await run(tmp_path, *lines(four_apps, 1, 2), format="dir")
    assert report.output is not None
    names = content(tmp_path / "out")
    assert sum(len(data) for name, data in names.items() if name != "blobs") == report.output.size
    alone = tmp_path / "alone"
    alone.mkdir()
    await run(alone, *lines(four_apps, 1, 2), format="dir")
    assert names == content(alone / "out")
    # What belonged to the earlier run alone is the new cache, and is found by the next run.
    asked = four_apps.blobs_asked().total()
    await run(tmp_path, *lines(four_apps, 0), format="dir", destination=tmp_path / "third")
    assert four_apps.blobs_asked().total() - asked <= 4


@pytest.mark.parametrize("existing", [True, False])
async def test_a_link_to_the_cache_stays_and_its_directory_becomes_the_output(
    four_apps: FakeRegistry, tmp_path: Path, existing: bool
) -> None:
    real = tmp_path / "elsewhere" / "cache"
    real.mkdir(parents=True) if existing else real.parent.mkdir()
    (tmp_path / "saved-image-cache").symlink_to(real)
    for name in ("first", "second"):
        report = await run(tmp_path, *lines(four_apps, 0, 1), destination=tmp_path / name)
        assert report.status == 0
        assert (tmp_path / name).is_dir()
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name / "index.json").is_file()
    assert (tmp_path / "saved-image-cache").is_symlink()


async def test_the_archive_is_told_of(four_apps: FakeRegistry, tmp_path: Path) -> None:
    events: list[Event] = []
    report = await run(tmp_path, *lines(four_apps), format="gzip", part_size=100_000, events=events)
    assert report.output is not None
    progress = [event for event in events if isinstance(event, ArchiveProgress)]
    assert [event.written for event in progress] == sorted(event.written for event in progress)
    assert 0 < progress[-1].written <= report.output.size
    assert [event.path for event in events if isinstance(event, Committing)] == [str(tmp_path / "out.tar.gz")]
    assert report.output.compressor.startswith("isal")


async def test_an_output_that_cannot_be_written_ends_the_run(four_apps: FakeRegistry, tmp_path: Path) -> None:
    (tmp_path / "out.tar.gz.part0" / "in the way").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"out\.tar\.gz\.part0"):
        await run(tmp_path, *lines(four_apps, 0), format="gzip", part_size=100_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tar.gz.part0", "saved-image-cache"]


async def test_a_directory_in_place_is_a_success_whatever_cannot_be_tidied_up(
    four_apps: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = Disk.remove

    def fail(disk: Disk, path: Path) -> None:
        if path.name == ".lock":
            raise StorageError("cannot remove it: Directory not empty", path=str(path))
        remove(disk, path)

    monkeypatch.setattr(Disk, "remove", fail)
    events: list[Event] = []
    report = await run(tmp_path, *lines(four_apps, 0), events=events)
    assert report.status == 0
    assert (tmp_path / "out" / "index.json").is_file()
    assert not (tmp_path / "failed.txt").exists()
    assert [event.text for event in events if isinstance(event, Notice) and "Directory not empty" in event.text]


async def test_partial_blobs_of_a_failed_image_are_in_the_new_cache(four_apps: FakeRegistry, tmp_path: Path) -> None:
    """The next run continues with them."""
    four_apps.add("noise:1", image([layer({"noise": os.urandom(300_000)})], AMD64))
    four_apps.fail("/noise/blobs/", Status(404), ranged=True, times=None)
    four_apps.fail("/noise/blobs/", Cut(100_000), times=None)
    report = await run(tmp_path, *lines(four_apps, 0), f"{four_apps.address}/noise:1")
    assert report.status == 1
    assert (tmp_path / "out").is_dir()
    assert list((tmp_path / "saved-image-cache" / ".partial").iterdir())
    assert not (tmp_path / ".saved-image-cache.aside").exists()


@pytest.mark.parametrize("format_", ["gzip", "dir"])
async def test_as_many_entries_are_written_as_are_read(
    four_apps: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    monkeypatch.setattr(limits, "_BYTES_AN_ENTRY", 1 << 30)
    (tmp_path / "a").mkdir()
    report = await run(tmp_path / "a", *lines(four_apps), format=format_)
    assert report.output is not None
    path = report.output.path

    def entries(most: int) -> int:
        monkeypatch.setattr(graph, "MAX_ENTRIES", most)
        return count_entries(read(path))

    most = await in_thread(entries, 1000)
    assert await in_thread(entries, most) == most
    with pytest.raises(ContentError, match=f"more than {most - 1} blobs"):
        await in_thread(entries, most - 1)
    (tmp_path / "b").mkdir()
    with pytest.raises(StorageError, match=f"app3:1 is one too many: .* more than {most - 1} blobs") as raised:
        await run(tmp_path / "b", *lines(four_apps), format=format_)
    assert raised.value.advice == "split the list of images"
    assert not (tmp_path / "b" / path.name).exists()


async def test_a_list_that_no_reader_takes_is_not_written(
    four_apps: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_VALUES", 60)
    monkeypatch.setattr(limits, "_BYTES_A_VALUE", 1 << 30)
    with pytest.raises(StorageError, match=r"saved-images-list\.json would be too large"):
        await run(tmp_path, *lines(four_apps), format="gzip")
