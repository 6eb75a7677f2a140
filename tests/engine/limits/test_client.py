"""Repeated requests, their waits, and mirrors before registries."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings, RetryPolicy, join_routes, parse_mirror
from hangar_async.engine.events import Event, Retrying
from hangar_async.engine.limits.queue import Ticket
from hangar_async.engine.reports import Report
from hangar_async.errors import DigestMismatch, NetworkError, NotFound, RegistryError
from tests.engine.limits.rig import BASE, IMAGE, POLICY, Trial, busy
from tests.engine.rig import run
from tests.fakes.faults import Bytes, Status
from tests.fakes.registry import FakeRegistry


async def test_a_request_that_recovers_is_repeated() -> None:
    trial = Trial()
    assert await trial.run(NetworkError("cut", host="h"), RegistryError("busy", host="h", status=503)) == "done"
    assert trial.tries == 3
    first, second = trial.time.waits
    assert 0.5 <= first <= 1.0
    assert 1.0 <= second <= 2.0
    assert trial.events == [Retrying("blob", "cut", first, 1), Retrying("blob", "busy", second, 2)]


async def test_it_ends_with_the_last_error() -> None:
    trial = Trial()
    with pytest.raises(NetworkError, match="cut 3"):
        await trial.run(*(NetworkError(f"cut {number}", host="h") for number in range(9)))
    assert trial.tries == POLICY.retries + 1
    assert max(trial.time.waits) <= POLICY.longest


async def test_a_try_that_gained_bytes_uses_up_none() -> None:
    trial = Trial()
    gaining = [NetworkError("cut", host="h", gained=1) for _ in range(50)]
    assert await trial.run(*gaining) == "done"
    assert max(trial.time.waits) <= POLICY.first
    failing = [NetworkError("cut", host="h") for _ in range(POLICY.retries)]
    assert await trial.run(*failing, NetworkError("cut", host="h", gained=5), *failing) == "done"
    with pytest.raises(NetworkError):
        await trial.run(*failing, NetworkError("cut", host="h", gained=5), *failing, *failing)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410])
async def test_a_request_that_cannot_recover_is_not_repeated(status: int) -> None:
    trial = Trial()
    with pytest.raises(RegistryError):
        await trial.run(RegistryError("no", host="h", status=status))
    assert trial.tries == 1
    assert trial.time.waits == []


async def test_a_wrong_digest_is_tried_once_more_and_one_of_bytes_kept_for_nothing() -> None:
    trial = Trial()
    with pytest.raises(DigestMismatch):
        await trial.run(*(DigestMismatch("wrong") for _ in range(9)))
    assert trial.tries == 2
    trial = Trial()
    with pytest.raises(DigestMismatch):
        await trial.run(DigestMismatch("kept", stale=True), *(DigestMismatch("wrong") for _ in range(9)))
    assert trial.tries == 3


async def test_a_fault_of_the_program_is_not_tried_again() -> None:
    tries = 0

    async def once() -> None:
        nonlocal tries
        tries += 1
        raise KeyError("x")

    with pytest.raises(KeyError):
        await Trial().retrier.run("blob", "h", Ticket((0,)), once)
    assert tries == 1


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (899.0, 899.0)])
async def test_the_registry_says_how_long_to_wait(asked: float, waited: float) -> None:
    trial = Trial()
    assert await trial.run(busy(asked), busy(asked, status=503)) == "done"
    assert trial.time.waits == trial.closed() == [waited, waited]
    assert not [event for event in trial.events if isinstance(event, Retrying)]


@pytest.mark.parametrize("asked", [0.0, -5.0])
async def test_at_once_is_taken_at_its_word_the_first_time(asked: float) -> None:
    trial = Trial()
    assert await trial.run(busy(asked)) == "done"
    assert sum(trial.time.waits) == 0.0


async def test_without_a_word_the_pauses_grow() -> None:
    trial = Trial()
    assert await trial.run(*(busy() for _ in range(4))) == "done"
    for wait, longest in zip(trial.closed(), (1.0, 2.0, 3.0, 3.0), strict=True):
        assert longest / 2 <= wait <= longest


async def test_waiting_for_a_quota_uses_up_no_try() -> None:
    trial = Trial()
    assert await trial.run(*(busy(5.0) for _ in range(20))) == "done"
    assert trial.tries == 21


async def test_cancelling_one_that_waits_disturbs_nobody() -> None:
    trial = Trial(jobs=1)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(trial.run(*(busy(20.0) for _ in range(100))))
        for _ in range(10):
            await asyncio.sleep(0)
        waiting.cancel()
    assert waiting.cancelled()
    assert await trial.run() == "done"


async def save(tmp_path: Path, origin: FakeRegistry, *mirrors: str, **keywords: Any) -> Report:
    routes = join_routes(parse_mirror(f"{origin.address}={mirror}") for mirror in mirrors)
    settings = RegistrySettings(retry=RetryPolicy(retries=2, first=0.0, longest=0.0), mirrors=routes)
    environment = Environment(registries=settings)
    return await run(tmp_path, f"{origin.address}/team/app:1", environment=environment, **keywords)


def digests(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "out" / "share" / "sha256").iterdir()}


def all_of(image: Any) -> set[str]:
    return {digest.hex for digest in (*image.blobs, *image.documents)}


async def test_a_mirror_gives_all_and_the_registry_is_not_asked(
    origin: FakeRegistry, mirror: FakeRegistry, tmp_path: Path
) -> None:
    report = await save(tmp_path, origin, f"{mirror.address}/cache")
    assert report.status == 0, report.failed
    assert origin.requests == []
    assert all_of(IMAGE) <= digests(tmp_path)
    [outcome] = report.saved
    assert outcome.image is not None
    assert outcome.image.reference.registry == origin.address


async def test_blobs_missing_at_the_mirror_come_from_the_registry(
    origin: FakeRegistry, mirror: FakeRegistry, tmp_path: Path
) -> None:
    mirror.content.remove("cache/team/app", BASE.digest)
    report = await save(tmp_path, origin, f"{mirror.address}/cache")
    assert report.status == 0, report.failed
    assert origin.blobs_asked() == {str(BASE.digest): 1}
    assert mirror.blobs_asked()[str(BASE.digest)] == 1


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_a_mirror_that_refuses_all_costs_one_try_and_no_wait(
    origin: FakeRegistry, mirror: FakeRegistry, tmp_path: Path, status: int
) -> None:
    mirror.fail("/v2/.", Status(status, {"Retry-After": "600"}), times=None)
    events: list[Event] = []
    report = await save(tmp_path, origin, f"{mirror.address}/cache", events=events)
    assert report.status == 0, report.failed
    assert not [event for event in events if isinstance(event, Retrying)]
    paths = [request.path for request in mirror.requests]
    assert len(paths) == len(set(paths))


async def test_a_wrong_byte_of_a_mirror_is_found(origin: FakeRegistry, mirror: FakeRegistry, tmp_path: Path) -> None:
    mirror.fail(str(BASE.digest), Bytes(lambda data: data[:-1] + b"!"), times=None)
    report = await save(tmp_path, origin, f"{mirror.address}/cache")
    assert report.status == 0, report.failed
    assert origin.blobs_asked() == {str(BASE.digest): 1}


async def test_a_mirror_that_answers_with_no_manifest_is_passed_over(
    origin: FakeRegistry, mirror: FakeRegistry, tmp_path: Path
) -> None:
    mirror.fail("/manifests/", Status(200, {"Content-Type": "text/html"}, b"<html>log in</html>"), times=None)
    report = await save(tmp_path, origin, f"{mirror.address}/cache")
    assert report.status == 0, report.failed
    assert len(origin.asked("/v2/team/app/manifests/1")) == 1


async def test_a_warm_cache_asks_the_mirror_alone(origin: FakeRegistry, mirror: FakeRegistry, tmp_path: Path) -> None:
    archive: dict[str, Any] = {"format": "gzip", "destination": tmp_path / "out.tar.gz"}
    await save(tmp_path, origin, **archive)
    origin.requests.clear()
    report = await save(tmp_path, origin, "127.0.0.1:1", f"{mirror.address}/cache", **archive)
    assert report.status == 0, report.failed
    assert origin.requests == []
    assert [request.method for request in mirror.asked("/manifests/")] == ["HEAD"]

    # One that refuses a HEAD is asked by GET before the next one is asked at all.
    mirror.fail("", Status(405), method="HEAD", times=None)
    report = await save(tmp_path, origin, f"{mirror.address}/cache", **archive)
    assert report.status == 0, report.failed
    assert origin.requests == []


async def test_saved_images_are_compared_with_the_mirror(
    origin: FakeRegistry, mirror: FakeRegistry, tmp_path: Path
) -> None:
    report = await save(tmp_path, origin, "127.0.0.1:1", f"{mirror.address}/cache", validate=True)
    assert report.status == 0, report.failed
    assert report.validated
    assert origin.requests == []


async def test_images_gone_from_the_mirror_are_compared_with_the_registry(
    origin: FakeRegistry, mirror: FakeRegistry, tmp_path: Path
) -> None:
    mirror.fail("", Status(404), method="HEAD", times=None)
    report = await save(tmp_path, origin, f"{mirror.address}/cache", validate=True)
    assert report.status == 0, report.failed
    assert report.validated
    assert {request.path for request in origin.requests} == {
        "/v2/",
        *(f"/v2/team/app/manifests/{one}" for one in ("1", *manifests())),
    }


def manifests() -> list[str]:
    return [str(digest) for digest in IMAGE.documents if digest != IMAGE.digest]


async def test_a_mirror_that_is_not_there_is_left_alone(
    origin: FakeRegistry, mirror: FakeRegistry, tmp_path: Path
) -> None:
    report = await save(tmp_path, origin, "127.0.0.1:1", f"{mirror.address}/cache")
    assert report.status == 0, report.failed
    assert origin.requests == []


async def test_the_registry_has_the_last_word(origin: FakeRegistry, mirror: FakeRegistry, tmp_path: Path) -> None:
    mirror.content.remove("cache/team/app", BASE.digest)
    origin.content.remove("team/app", BASE.digest)
    report = await save(tmp_path, origin, f"{mirror.address}/cache")
    error = report.failed[0].error
    assert isinstance(error, NotFound)
    assert error.host == origin.address
    broken = replace(origin, address="127.0.0.1:1")
    report = await save(tmp_path, broken, "127.0.0.1:2")
    assert isinstance(report.failed[0].error, NetworkError)
    assert "127.0.0.1:1" in str(report.failed[0].error)
