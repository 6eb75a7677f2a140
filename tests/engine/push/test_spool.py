"""An archive without index is loaded in one pass, with a bounded number of bytes on the disk."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hangar_async.disk import Disk
from hangar_async.engine.events import BlobStarted, Event
from hangar_async.engine.load import load
from hangar_async.engine.push import spool as module
from hangar_async.errors import (
    ArchiveError,
    ContentError,
    Incomplete,
    RegistryError,
    StorageError,
    Unauthorized,
    UsageError,
)
from hangar_async.testing.images import Built
from tests.engine.forms import Saved, pack_as_hangar
from tests.engine.loading import load_options, run_load, tagged
from tests.engine.made import make_cache
from tests.engine.rig import Countdown
from tests.fakes.faults import Status
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry

FORM = "hangar-gzip"
#: Less than the largest layers of the images.
BOUND = 100_000


def is_blob(path: Path) -> bool:
    """Tell whether it is a blob of the spool; the directory of the spool is made by the same disk."""
    return path.name.startswith("sha256-")


class Counting(Disk):
    """Counts the files in the spool, and their bytes."""

    sizes: ClassVar[dict[Path, int]]
    peaks: ClassVar[list[tuple[int, int]]]

    def create(self, path: Path, *arguments: Any, **keywords: Any) -> int:
        if is_blob(path):
            self.sizes[path] = 0
        return super().create(path, *arguments, **keywords)

    def write(self, descriptor: int, data: bytes | memoryview, path: Path) -> None:
        super().write(descriptor, data, path)
        if is_blob(path):
            self.sizes[path] += len(data)
        # One blob may be larger than the bound; it is there alone.
        sizes = [*self.sizes.values()]
        self.peaks.append((len(sizes), sum(sizes)))

    def remove(self, path: Path, *arguments: Any, **keywords: Any) -> None:
        super().remove(path, *arguments, **keywords)
        if is_blob(path):
            del self.sizes[path]


def blobs(saved: Saved) -> dict[str, int]:
    """The blobs of all images, and their sizes."""
    return {str(digest): len(data) for built in saved.built.values() for digest, data in built.blobs.items()}


@pytest.mark.parametrize("jobs", [1, 20])
async def test_the_spool_holds_its_bound_or_one_blob_and_is_empty_at_the_end(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    Counting.sizes, Counting.peaks = {}, []
    monkeypatch.setattr(module, "BOUND", BOUND)
    monkeypatch.setattr("hangar_async.engine.push.run.Disk", Counting)
    report = await run_load(tmp_path, everything.at(FORM), pushable_registry, jobs=jobs)
    assert report.status == 0, report.failed
    assert Counting.sizes == {}
    assert len(blobs(everything)) > 20
    for count, size in Counting.peaks:
        assert size <= BOUND or count == 1
    assert max(size for _, size in Counting.peaks) > BOUND
    assert max(count for count, _ in Counting.peaks) > 1
    assert list(tmp_path.glob(".load.*")) == []


async def test_many_small_blobs_have_a_bounded_number_in_the_spool(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Counting.sizes, Counting.peaks = {}, []
    monkeypatch.setattr(module, "MOST_BLOBS", 2)
    monkeypatch.setattr("hangar_async.engine.push.run.Disk", Counting)
    report = await run_load(tmp_path, everything.at(FORM), pushable_registry, jobs=20)
    assert report.status == 0, report.failed
    assert max(count for count, _ in Counting.peaks) == 2


async def test_each_blob_is_uploaded_once_and_nothing_a_second_time(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    events: list[Event] = []
    report = await run_load(tmp_path, everything.at(FORM), pushable_registry, events)
    assert report.status == 0, report.failed
    uploaded = [str(event.digest) for event in events if isinstance(event, BlobStarted)]
    assert len(uploaded) == len(set(uploaded)) == report.sent.uploaded_blobs
    report = await run_load(tmp_path, everything.at(FORM), pushable_registry)
    assert report.status == 0
    assert report.sent.uploaded_blobs == 0


async def test_a_refused_blob_fails_its_images_and_the_pass_goes_on(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    name, built = next((name, built) for name, built in everything.built.items() if "/zstd:1" in name)
    own = max(built.blobs.items(), key=lambda item: item[0] not in blobs_of_others(everything, name))[0]
    pushable_registry.fail(str(own).replace(":", "(:|%3A)"), Status(403), method="PUT", times=None)
    report = await run_load(tmp_path, everything.at(FORM), pushable_registry)
    [failed] = report.failed
    assert failed.image.name == name
    assert isinstance(failed.error, Unauthorized)
    assert "/zstd" in str(failed.error)
    assert len(report.outcomes) > 10
    assert list(tmp_path.glob(".load.*")) == []


async def test_an_image_that_could_not_be_looked_at_fails_by_that(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """The registry answers again when the pass is over, and the blobs are gone from the spool."""
    name, _ = next((name, built) for name, built in everything.built.items() if "/zstd:1" in name)
    pushable_registry.fail("/zstd/manifests/1$", Status(500), method="HEAD", times=3)
    report = await run_load(tmp_path, everything.at(FORM), pushable_registry)
    [failed] = report.failed
    assert failed.image.name == name
    assert isinstance(failed.error, RegistryError)
    assert failed.error.status == 500


def blobs_of_others(saved: Saved, name: str) -> set[object]:
    return {digest for other, built in saved.built.items() if other != name for digest in built.blobs}


async def test_a_damaged_blob_fails_its_images_alone(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    path = everything.copy(FORM, tmp_path)
    plain = bytearray(gzip.decompress(path.read_bytes()))
    name, built = next((name, built) for name, built in everything.built.items() if "/zstd:1" in name)
    own = next(data for digest, data in built.blobs.items() if digest not in blobs_of_others(everything, name))
    plain[plain.index(own) + len(own) // 2] ^= 1
    path.write_bytes(gzip.compress(bytes(plain), 1))
    report = await run_load(tmp_path, path, pushable_registry)
    [failed] = report.failed
    assert failed.image.name == name
    assert isinstance(failed.error, ContentError)
    assert "is damaged here" in str(failed.error)


async def test_an_archive_that_ends_too_early_is_refused_before_anything_is_pushed(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    path = everything.copy(FORM, tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ArchiveError):
        await run_load(tmp_path, path, pushable_registry)
    assert pushable_registry.asked(method="PUT") == []


async def test_a_spool_that_cannot_be_made_is_a_usage_error(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="none"):
        await run_load(tmp_path, everything.at(FORM), pushable_registry, spool=tmp_path / "none")


class Passes(Disk):
    """Counts how often each blob is written to the spool."""

    written: ClassVar[Counter[str]]

    def create(self, path: Path, *arguments: Any, **keywords: Any) -> int:
        self.written[path.name] += 1
        return super().create(path, *arguments, **keywords)


def pack(tmp_path: Path, images: Mapping[str, Built]) -> Path:
    """An archive without index."""
    pack_as_hangar(make_cache(tmp_path / "cache", images), tmp_path / "images.tar.gz")
    return tmp_path / "images.tar.gz"


@pytest.mark.parametrize("jobs", [1, 3])
async def test_images_of_a_registry_that_forgot_their_repository_are_read_once_more(
    pushable_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """It says by HEAD that it has each blob; after the first refusal the others of the repository know better."""
    Passes.written = Counter()
    monkeypatch.setattr("hangar_async.engine.push.run.Disk", Passes)
    images = {f"x.local/team/app:{number}": small(f"app{number}") for number in range(12)}
    for digest, data in {digest: data for built in images.values() for digest, data in built.blobs.items()}.items():
        length = {"Content-Length": str(len(data))}
        pushable_registry.fail(f"/blobs/{digest}", Status(200, length), method="HEAD", times=None)
    report = await run_load(tmp_path, pack(tmp_path, images), pushable_registry, jobs=jobs)
    assert [str(outcome.error) for outcome in report.failed] == []
    for number, built in enumerate(images.values()):
        assert await tagged(pushable_registry.content, f"team/app:{number}") == built.digest
    # In one pass, whatever the number of images.
    assert set(Passes.written.values()) == {1}


async def test_an_image_whose_blobs_are_refused_again_fails_alone_and_says_why(
    pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    images = {f"x.local/team/app:{number}": small(f"app{number}") for number in range(6)}
    refused = Status(400, {"Content-Type": "application/json"}, b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN"}]}')
    pushable_registry.fail("/manifests/0", refused, method="PUT", times=None)
    report = await run_load(tmp_path, pack(tmp_path, images), pushable_registry, jobs=1)
    [failed] = report.failed
    assert isinstance(failed.error, Incomplete)
    assert failed.image.name == "x.local/team/app:0"


class Untidy(Disk):
    """A disk that removes no blob: a virus scanner has all files open."""

    def remove(self, path: Path) -> None:
        if not is_blob(path):
            super().remove(path)
            return
        raise StorageError(f"cannot remove {path}: Device or resource busy", path=str(path))


async def test_a_blob_that_stays_in_the_spool_is_no_failure(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hangar_async.engine.push.run.Disk", Untidy)
    report = await run_load(tmp_path, everything.at(FORM), pushable_registry, jobs=20)
    assert report.status == 0, report.failed
    # Nor is it one when it would be read once more.
    refused = Status(400, {"Content-Type": "application/json"}, b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN"}]}')
    pushable_registry.fail("/manifests/0", refused, method="PUT", times=3)
    report = await run_load(tmp_path, pack(tmp_path, {"x.local/team/app:0": small("app")}), pushable_registry)
    assert report.status == 0, report.failed
    assert list(tmp_path.glob(".load.*")) == []


@pytest.mark.parametrize("number", [3, 30, 90])
async def test_a_cancelled_load_leaves_no_spool(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path, number: int
) -> None:
    countdown = Countdown(number)
    wanted = load_options(tmp_path, everything.at(FORM), pushable_registry.address)
    countdown.watched = asyncio.create_task(load(wanted, countdown))
    with pytest.raises(asyncio.CancelledError):
        await countdown.watched
    assert list(tmp_path.glob(".load.*")) == []
