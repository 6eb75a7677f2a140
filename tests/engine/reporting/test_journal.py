"""Every verb writes a report, however its run ends."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.options import VerifyOptions
from hangar_async.config.registries import Proxies, RegistrySettings, RetryPolicy
from hangar_async.config.target_options import LoadOptions, MirrorOptions
from hangar_async.disk import Disk
from hangar_async.engine.events import BlobStarted, Event, Notice
from hangar_async.engine.load import load
from hangar_async.engine.mirror import mirror, mirror_validate
from hangar_async.engine.save import save, sync
from hangar_async.engine.validate import load_validate
from hangar_async.engine.verify import verify
from hangar_async.errors import StorageError, UsageError
from hangar_async.testing.images import index
from tests.engine.loading import load_options
from tests.engine.reporting.rig import by_name, checked
from tests.engine.rig import options, sync_options
from tests.fakes.faults import Status
from tests.fakes.images import ARM64, small
from tests.fakes.registry import FakeRegistry

SECRET = "hunter2-and-more"


def fill(registry: FakeRegistry) -> list[str]:
    """Give a registry two images; name these, and one that it has not."""
    registry.add("one:1", index([small("one"), small("one-arm", platform=ARM64)]))
    registry.add("two:1", small("two"))
    return [f"{registry.address}/{name}:1" for name in ("one", "two", "none")]


def settings() -> RegistrySettings:
    """Settings with secrets, none of which is for a registry of these tests."""
    retry = RetryPolicy(retries=0, first=0.0, longest=0.0, outage_pauses=(0.0,))
    proxies = Proxies(https=f"http://user:{SECRET}@proxy.example.com", bypass=("127.0.0.1",))
    return RegistrySettings(retry=retry, stall_timeout=20.0, proxies=proxies)


ENVIRONMENT = Environment(registries=settings(), destinations=settings())


async def test_each_verb_has_a_report_that_keeps_the_schema_and_no_secret(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    names, to = fill(fake_registry), pushable_registry.address
    found: dict[str, dict[str, Any]] = {}

    async def run(command: str, work: Awaitable[Any]) -> dict[str, Any]:
        await work
        text = (tmp_path / f"{command}.json").read_text()
        assert SECRET not in text
        found[command] = checked(text)
        assert found[command]["command"] == command
        assert found[command]["end"] == "complete"
        return by_name(found[command])

    def path(command: str) -> dict[str, Any]:
        return {"report": tmp_path / f"{command}.json", "environment": ENVIRONMENT}

    archive = tmp_path / "out.tar.gz"
    saving = options(tmp_path, *names, "no image", format="gzip", destination=archive, **path("save"))
    images = await run("save", save(saving))
    assert {name: one["status"] for name, one in images.items()} == {
        "one:1": "done",
        "two:1": "done",
        "none:1": "failed",
    }
    assert images["none:1"] | {"message": "", "seconds": 0} == {
        "name": names[2],
        "target": None,
        "line": 3,
        "text": names[2],
        "status": "failed",
        "reason": "not found",
        "message": "",
        "advice": "check name and tag; a private repository may look like this without credentials",
        "retriable": False,
        "same_as": None,
        "source_digest": None,
        "digest": None,
        "replaced": None,
        "platforms": None,
        "size": None,
        "bytes": 0,
        "seconds": 0,
        "referrers": None,
        "notes": [],
    }
    assert images["one:1"]["platforms"] == ["linux/amd64", "linux/arm64/v8"]
    assert images["one:1"]["digest"] == images["one:1"]["source_digest"]
    totals = found["save"]["totals"]
    assert (totals["images"], totals["done"], totals["failed"], totals["invalid"]) == (3, 2, 1, 1)
    assert totals["bytes"] == sum(one["bytes"] for one in images.values()) > 0
    assert found["save"]["output"]["files"] == [str(archive)]
    assert found["save"]["failed_list"] == str(tmp_path / "failed.txt")
    assert found["save"]["invalid"][0]["line"] == 4

    await run("sync", sync(sync_options(tmp_path, names[0], cache=tmp_path / "cache", **path("sync"))))
    images = await run("load", load(load_options(tmp_path, archive, to, **path("load"))))
    assert images["one:1"]["target"] == f"{to}/library/one:1"
    assert [one["status"] for one in images.values()] == ["done", "done"]
    assert sum(one["bytes"] for one in images.values()) == found["load"]["totals"]["bytes"] > 0
    images = await run("load-validate", load_validate(load_options(tmp_path, archive, to, **path("load-validate"))))
    assert [one["status"] for one in images.values()] == ["unchanged", "unchanged"]
    assert images["two:1"]["digest"] == images["two:1"]["source_digest"]

    def mirroring(command: str) -> MirrorOptions:
        return MirrorOptions(images=names, destination=f"{to}/x", **path(command))

    images = await run("mirror", mirror(mirroring("mirror")))
    assert [one["status"] for one in images.values()] == ["done", "done", "failed"]
    assert images["one:1"]["target"] == f"{to}/x/one:1"
    await mirror(mirroring("again"))
    again = by_name(checked((tmp_path / "again.json").read_text()))
    assert [one["status"] for one in again.values()] == ["unchanged", "unchanged", "failed"]
    assert again["two:1"]["digest"] == images["two:1"]["digest"] == images["two:1"]["source_digest"]
    images = await run("mirror-validate", mirror_validate(mirroring("mirror-validate")))
    assert [one["status"] for one in images.values()] == ["unchanged", "unchanged", "failed"]
    images = await run("verify", verify(VerifyOptions(archive, tmp_path / "verify.json")))
    assert {one["status"] for one in images.values()} == {"done"}
    assert images["two:1"]["size"] > 0


async def test_a_run_that_is_cancelled_says_which_images_it_did_not_reach(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    names = fill(fake_registry)
    texts: list[str] = []
    ended = asyncio.Event()
    fake_registry.fail("/two/blobs/", Status(503), times=None)

    def observe(event: Event) -> None:
        if type(event).__name__ == "Retrying":
            ended.set()

    retry = RetryPolicy(retries=9, first=60.0, longest=60.0)
    environment = Environment(registries=RegistrySettings(retry=retry, stall_timeout=20.0))
    work = save(options(tmp_path, *names, report=texts.append, environment=environment), observe)
    task = asyncio.create_task(work)
    await ended.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    document = checked(texts[0])
    assert (document["end"], document["error"]) == ("interrupted", None)
    images = by_name(document)
    assert list(images) == ["one:1", "two:1", "none:1"]
    assert {name: images["two:1"][name] for name in ("status", "reason", "retriable", "line")} == {
        "status": "skipped",
        "reason": "not reached",
        "retriable": True,
        "line": 2,
    }
    assert document["totals"]["bytes"] > 0
    assert images["none:1"]["status"] in ("failed", "skipped")


async def test_a_run_that_an_error_ends_names_it(
    fake_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = fill(fake_registry)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x")

    def observe(event: Event) -> None:
        if isinstance(event, BlobStarted):
            monkeypatch.setattr("hangar_async.store.ingest.Ingest.write", fail)

    with pytest.raises(StorageError):
        await save(options(tmp_path, *names, report=tmp_path / "report.json"), observe)
    document = checked((tmp_path / "report.json").read_text())
    assert document["end"] == "failed"
    assert document["error"]["reason"] == "disk"
    assert len(document["images"]) == 3


async def test_a_fault_of_the_program_is_in_the_report_too(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("hangar_async.engine.copy.image.ImageWorker.heads", fail)
    to = f"{pushable_registry.address}/x"
    with pytest.raises(ExceptionGroup):
        await mirror(MirrorOptions(images=fill(fake_registry), destination=to, report=texts.append))
    error = checked(texts[0])["error"]
    assert (error["reason"], error["message"], error["retriable"]) == ("unexpected", "ZeroDivisionError: a fault", None)


@pytest.mark.parametrize("is_broken", [False, True])
async def test_a_report_that_cannot_be_written_is_an_error_unless_another_one_ended_the_run(
    fake_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_broken: bool
) -> None:
    names, events = fill(fake_registry), list[Event]()
    rename = Disk.rename

    def fail(disk: Disk, source: Path, target: Path) -> None:
        if target.name == "report.json":
            raise StorageError("no room for the report", path=str(target))
        rename(disk, source, target)

    async def stop(*_: object, **__: object) -> None:
        raise StorageError("no room for the image", path="x")

    monkeypatch.setattr(Disk, "rename", fail)
    if is_broken:
        monkeypatch.setattr("hangar_async.engine.save.write_cache", stop)
    with pytest.raises(StorageError, match="no room for the image" if is_broken else "no room for the report"):
        await save(options(tmp_path, *names, report=tmp_path / "report.json"), events.append)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert ("the report is not written: no room for the report" in notices) == is_broken
    assert not [path for path in tmp_path.iterdir() if "report.json" in path.name]


VERBS: dict[str, Callable[[Path, Path], Awaitable[Any]]] = {
    "save": lambda home, report: save(options(home, "127.0.0.1:1/a:1", report=report)),
    "sync": lambda home, report: sync(sync_options(home, "127.0.0.1:1/a:1", report=report)),
    "load": lambda home, report: load(LoadOptions(source=home / "cache", destination="127.0.0.1:1", report=report)),
    "load-validate": lambda home, report: load_validate(
        LoadOptions(source=home / "cache", destination="127.0.0.1:1", report=report)
    ),
    "mirror": lambda home, report: mirror(
        MirrorOptions(images=["127.0.0.1:1/a:1"], destination="127.0.0.1:1/x", report=report)
    ),
    "mirror-validate": lambda home, report: mirror_validate(
        MirrorOptions(images=["127.0.0.1:1/a:1"], destination="127.0.0.1:1/x", report=report)
    ),
    "verify": lambda home, report: verify(VerifyOptions(home / "cache", report)),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_report_that_cannot_be_is_refused_before_any_work(verb: str, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with pytest.raises(UsageError, match=r"does not exist \(--report"):
        await VERBS[verb](tmp_path, tmp_path / "none" / "report.json")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.tar.gz", r"would replace .*out.tar.gz, which this command uses"),
        ("out.tar.gz.sha256", r"would replace"),
        ("out.incomplete.tar.gz", r"would replace"),
        ("failed.txt", r"would replace"),
        ("saved-image-cache/report.json", r"would lie in .*saved-image-cache, which this command uses"),
        ("saved-image-cache", r"is a directory"),
        ("notes.txt", r"is no report and would be lost"),
    ],
)
async def test_a_report_in_the_place_of_another_file_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "saved-image-cache").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    saving = options(
        tmp_path, "127.0.0.1:1/a:1", format="gzip", destination=tmp_path / "out.tar.gz", report=tmp_path / name
    )
    with pytest.raises(UsageError, match=message):
        await save(saving)


async def test_a_wrong_use_that_is_found_before_the_work_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no image"):
        await save(options(tmp_path, "no image", report=tmp_path / "report.json"))
    assert not (tmp_path / "report.json").exists()
