"""Blobs are pushed once for each repository."""

from pathlib import Path

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings
from hangar_async.engine.events import BlobProgress, BlobStarted, Event, Retrying
from hangar_async.engine.load import load
from hangar_async.layout import directory
from hangar_async.layout.directory import FileReader
from hangar_async.testing.images import image, layer
from tests.engine.forms import Saved
from tests.engine.loading import load_options, run_load
from tests.engine.made import make_cache
from tests.fakes.clock import FakeClock
from tests.fakes.faults import CutBody
from tests.fakes.images import AMD64
from tests.fakes.registry import FakeRegistry


@pytest.mark.parametrize("form", ["gzip-3", "hangar-gzip", "dir"])
async def test_each_digest_is_sent_once_and_nothing_a_second_time(
    form: str, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    await run_load(tmp_path, everything.at(form), pushable_registry)
    sent = [one.path for one in pushable_registry.asked("/blobs/uploads/.*digest=", "PUT")]
    digests = [path.rpartition("digest=")[2] for path in sent]
    assert len(digests) == len(set(digests)) > 10
    assert pushable_registry.asked("mount=", "POST")
    held = len(pushable_registry.requests)
    report = await run_load(tmp_path, everything.at(form), pushable_registry)
    assert {outcome.state for outcome in report.outcomes} == {"present"}
    assert (report.sent.uploaded_bytes, report.sent.mounted_blobs) == (0, 0)
    again = pushable_registry.requests[held:]
    # One question an image, and whether it is a registry.
    assert [one.path for one in again if one.method != "HEAD"] == ["/v2/", "/v2/"]
    assert len(again) == len(everything.built) + 2


@pytest.mark.parametrize("mounts", [True, False])
async def test_a_blob_that_a_repository_of_the_run_has_is_mounted_without_a_question(
    mounts: bool, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """Where the registry does not mount, the question comes first again, so that nothing is sent for nothing."""
    shared = layer({"shared": b"s"})
    names = ["one:1", "two:1", "three:1"]
    source = make_cache(
        tmp_path / "cache", {name: image([shared, layer({name: name.encode()})], AMD64) for name in names}
    )
    assert pushable_registry.pushes is not None
    pushable_registry.pushes.mounts = mounts
    for name in ("two", "three"):
        pushable_registry.content.add_blob(f"library/{name}", shared.data)
    report = await run_load(tmp_path, source, pushable_registry, jobs=1, requests=1)  # in the order of the names
    assert report.status == 0
    assert len(pushable_registry.asked(f"blobs/{shared.digest}", "HEAD")) == (1 if mounts else 3)
    assert len(pushable_registry.asked(f"digest={shared.digest}", "PUT")) == 1
    assert (report.sent.mounted_blobs, report.sent.present_blobs) == ((2, 0) if mounts else (0, 2))


@pytest.mark.parametrize("form", ["gzip", "hangar-gzip", "dir"])
async def test_every_byte_of_a_blob_is_counted_and_limited(
    form: str, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """Blobs of one piece as well as longer ones."""
    time, rate = FakeClock(), 1_000_000
    environment = Environment(destinations=RegistrySettings(limit_rate=rate))
    options = load_options(tmp_path, everything.at(form), pushable_registry.address, environment=environment)
    events: list[Event] = []
    report = await load(options, events.append, clock=time.clock)
    sizes = {event.digest: event.size for event in events if isinstance(event, BlobStarted)}
    assert report.sent.uploaded_blobs == len(sizes) > 10
    assert report.sent.uploaded_bytes == sum(sizes.values())
    assert sum(event.gained for event in events if isinstance(event, BlobProgress)) == sum(sizes.values())
    assert time.now - 1000.0 == pytest.approx(sum(sizes.values()) / rate, abs=0.1)


async def test_the_reader_of_a_try_that_broke_is_closed_before_the_next_one(
    pushable_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = layer({"noise": bytes(24 << 20)}, "none")
    source = make_cache(tmp_path / "cache", {"app:1": image([large], AMD64)})
    pushable_registry.fail(large.digest.hex, CutBody(600_000), method="PUT")
    readers: list[FileReader] = []
    open_at_retry: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, Retrying):
            open_at_retry.append(sum(reader._file >= 0 for reader in readers))

    class Noted(FileReader):
        def __init__(self, path: Path, start: int = 0) -> None:
            super().__init__(path, start)
            readers.append(self)

    monkeypatch.setattr(directory, "FileReader", Noted)
    report = await load(load_options(tmp_path, source, pushable_registry.address, jobs=1), watch)
    assert report.status == 0
    assert open_at_retry == [0]
