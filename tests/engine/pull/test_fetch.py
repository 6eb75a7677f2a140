"""Manifests and blobs are fetched once, in order, from every source that has them."""

from __future__ import annotations

import asyncio
import json
import random
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.config.environment import Environment
from hangar_async.config.jobs import JobLimits
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.engine.events import (
    BlobReused,
    BlobStarted,
    Event,
    HostClosed,
    HostReached,
    HostUnreachable,
    QuotaReported,
    Retrying,
)
from hangar_async.engine.limits.client import LimitedClient, Retrier
from hangar_async.engine.limits.hosts import Asked
from hangar_async.engine.limits.queue import Rank, Ticket, blob_rank
from hangar_async.engine.limits.rate import RateLimit
from hangar_async.engine.pull.fetch import Fetcher, Receiver
from hangar_async.engine.reports import Report
from hangar_async.engine.save import save, sync
from hangar_async.errors import ContentError, DigestMismatch, NetworkError, NotFound, RateLimited, RegistryError
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.singleflight import SingleFlight
from hangar_async.store.content import open_store
from hangar_async.testing.images import Built, attestation, image, index, layer
from hangar_async.threads import in_thread
from tests.engine.pull.rig import BASE, app, bring
from tests.engine.rig import options, run, sync_options
from tests.fakes.auth import Basic
from tests.fakes.clock import FakeClock, turns_until
from tests.fakes.faults import Bytes, Close, Cut, Fault, Function, Headers, Hold, IgnoreRange, Status, Unended
from tests.fakes.images import AMD64, ARM64, small
from tests.fakes.registry import FakeRegistry, answering, fake_registry


def fill(fake_registry: FakeRegistry, count: int) -> list[str]:
    for number in range(count):
        fake_registry.add(f"app{number}:1", small(f"app{number}", BASE))
    return [f"{fake_registry.address}/app{number}:1" for number in range(count)]


@pytest.mark.parametrize("jobs", [1, 4, 20])
async def test_a_shared_layer_crosses_the_network_once(fake_registry: FakeRegistry, tmp_path: Path, jobs: int) -> None:
    app_lines = fill(fake_registry, 40)
    report = await run(tmp_path, *app_lines, jobs=jobs)
    assert report.status == 0
    assert set(fake_registry.blobs_asked().values()) == {1}
    assert fake_registry.blobs_asked()[str(BASE.digest)] == 1
    manifests = [request.path for request in fake_registry.asked("/manifests/")]
    assert len(manifests) == len(set(manifests)) == 40
    assert 1 < fake_registry.peak <= min(6 * jobs, 60)


async def test_a_manifest_that_two_images_share_is_asked_for_once(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    one = small("one")
    fake_registry.add("a:1", index([one, small("two", platform=ARM64)]))
    fake_registry.add("a:2", index([one]))
    await run(tmp_path, f"{fake_registry.address}/a:1", f"{fake_registry.address}/a:2")
    assert len(fake_registry.asked(f"/v2/a/manifests/{one.digest}")) == 1


async def test_one_request_at_a_time(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    app_lines = fill(fake_registry, 5)
    assert (await run(tmp_path, *app_lines, requests=1)).status == 0
    assert fake_registry.peak == 1


async def test_a_permit_goes_to_the_first_image_that_waits_and_to_its_largest_blob(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    """Blobs are looked for in the cache before they wait, in threads: until then a permit goes to others."""
    wanted: list[Rank] = []
    tasks: list[asyncio.Task[object]] = []
    settings, events = Environment().registries, list[Event]()
    async with RegistryClient(settings) as client, open_store(tmp_path / "cache") as store, SingleFlight() as flights:
        retrier = Retrier(JobLimits(1, 12, 1), RetryPolicy(), events.append)
        fetcher = Fetcher(flights, Receiver(LimitedClient(client, retrier), RateLimit(None), events.append), store, 0)
        async with retrier.hosts.hold(Asked(fake_registry.address), Ticket((0,))):
            for number in (1, 0):
                built = image([layer({"a": random.Random(number).randbytes(size)}) for size in (10, 1000)], AMD64)
                fake_registry.add(f"{number}:1", built)
                for digest, data in built.blobs.items():
                    wanted.append(rank := blob_rank(number, len(data)))
                    blob = Descriptor("application/octet-stream", digest, len(data))
                    name = Reference.parse(f"{fake_registry.address}/{number}:1")
                    tasks.append(asyncio.create_task(fetcher.fetch(blob, name, rank)))
            while f" {len(tasks)} queued" not in repr(retrier.hosts.queue):
                await in_thread(lambda: None)
        await asyncio.gather(*tasks)
    order = [one.path.split("/") for one in fake_registry.asked("/blobs/")]
    sizes = [await fake_registry.content.size(parts[2], Digest.parse(parts[4])) for parts in order]
    ranks = [blob_rank(int(parts[2]), size or 0) for parts, size in zip(order, sizes, strict=True)]
    assert ranks == sorted(wanted)


async def test_a_second_run_fetches_no_blob_and_a_damaged_one_again(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    app_lines = fill(fake_registry, 3)
    await run(tmp_path, *app_lines, format="gzip", destination=tmp_path / "out.tar.gz")
    fake_registry.requests.clear()
    events: list[Event] = []
    report = await run(tmp_path, *app_lines, format="gzip", destination=tmp_path / "out.tar.gz", events=events)
    assert fake_registry.blobs_asked() == {}
    assert report.traffic.reused_blobs == len([event for event in events if isinstance(event, BlobReused)]) == 10
    damaged = tmp_path / "saved-image-cache" / "share" / "sha256" / BASE.digest.hex
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    await run(tmp_path, *app_lines, format="gzip", destination=tmp_path / "out.tar.gz")
    assert fake_registry.blobs_asked() == {str(BASE.digest): 1}


async def test_an_image_by_digest_that_is_held_needs_no_request(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    digest = fake_registry.add("a:1", small("a"))
    line = f"{fake_registry.address}/a@{digest}"
    await run(tmp_path, line, format="gzip", referrers="none")
    fake_registry.requests.clear()
    await run(tmp_path, line, format="gzip", referrers="none")
    assert fake_registry.requests == []


async def test_a_digest_is_tried_from_the_next_image_that_names_it(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    app_lines = fill(fake_registry, 3)
    fake_registry.content.remove("app0", BASE.digest)
    fake_registry.content.remove("app1", BASE.digest)
    report = await run(tmp_path, *app_lines, jobs=1)
    assert report.status == 0, report.failed
    asked = [len(fake_registry.asked(f"/v2/app{number}/blobs/{BASE.digest}")) for number in range(3)]
    assert max(asked) == asked[2] == 1


def answered_after(registry: FakeRegistry, held: str, first: str) -> None:
    """Let a registry answer requests for `held` only when its answer to one for `first` has had all its effects."""
    answered = asyncio.Event()

    async def answer_first(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        finally:
            answered.set()

    async def answer_held(request: web.Request, handler: Handler) -> web.StreamResponse:
        await answered.wait()
        for _ in range(100):
            await in_thread(lambda: None)
        return await handler(request)

    registry.fail(first, answer_first, times=None)
    registry.fail(held, answer_held)


@pytest.mark.parametrize("first", ["lacking", "whole"])
@pytest.mark.parametrize("kind", ["manifest", "index", "config", "attestation", "root"])
async def test_a_document_that_a_repository_lacks_comes_from_another_whatever_is_first(
    fake_registry: FakeRegistry, tmp_path: Path, kind: str, first: str
) -> None:
    child = small("child")
    whole = {
        "manifest": index([child]),
        "index": index([index([child])]),
        "config": child,
        "attestation": index([child, attestation(child)]),
        "root": index([child]),
    }[kind]
    within = [digest for digest in whole.documents if digest != whole.digest]
    gone = Digest.parse(json.loads(child.raw)["config"]["digest"]) if kind == "config" else within[-1]
    fake_registry.add("whole:1", whole)
    fake_registry.add("lacking:1", whole)
    fake_registry.content.remove("lacking", gone)
    names = ["lacking:1", "whole:1"]
    asked = (f"/v2/lacking/.*{gone}", "/v2/whole/manifests/1")
    if kind == "root":
        names, asked = [f"lacking@{gone}", "whole:1"], (f"/v2/lacking/manifests/{gone}", f"/v2/whole/manifests/{gone}")
    answered_after(fake_registry, *(asked if first == "whole" else reversed(asked)))
    report = await run(tmp_path, *(f"{fake_registry.address}/{name}" for name in names))
    assert [str(outcome.error) for outcome in report.failed] == []
    assert [outcome.left_out for outcome in report.outcomes] == [0, 0]


async def test_images_that_lack_what_none_has_fail_all(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    """Each waits for the others, and each fails by the answer of its own repository."""
    for number in range(5):
        child = small(f"child{number}")
        fake_registry.add(f"app{number}:1", index([child]))
        fake_registry.content.remove(f"app{number}", child.digest)
    names = [f"{fake_registry.address}/app{number}:1" for number in range(5)]
    again = f"{names[2].removesuffix(':1')}:2"
    fake_registry.add("app2:2", index([small("other")]))
    lost = f"{fake_registry.address}/none@sha256:{'0' * 64}"
    report = await run(tmp_path, *names, again, lost)
    assert [type(outcome.error) for outcome in report.outcomes] == [NotFound] * 5 + [type(None), NotFound]
    for number, outcome in enumerate(report.outcomes[:5]):
        assert f"/app{number}" in str(outcome.error)


async def test_a_digest_that_nobody_gives_fails_all_who_need_it_and_no_other(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    app_lines = fill(fake_registry, 3)
    for number in range(3):
        fake_registry.content.remove(f"app{number}", BASE.digest)
    fake_registry.add("good:1", small("good"))
    report = await run(tmp_path, *app_lines, f"{fake_registry.address}/good:1")
    assert [type(outcome.error) for outcome in report.outcomes] == [NotFound] * 3 + [type(None)]
    for number, outcome in enumerate(report.failed):
        assert f"app{number}" in str(outcome.error)


async def test_a_failure_that_images_share_has_a_traceback_for_each(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    names = [f"app:{number}" for number in range(40)]
    for name in names:
        fake_registry.add(name, small(name, BASE))
    fake_registry.content.remove("app", BASE.digest)
    report = await run(tmp_path, *(f"{fake_registry.address}/{name}" for name in names), jobs=8)
    errors = [outcome.error for outcome in report.failed]
    assert len(set(map(id, errors))) == 40
    depths = [sum(1 for _ in traceback.walk_tb(error.__traceback__)) for error in errors if error is not None]
    assert max(depths) < 40


async def test_requests_that_recover_are_repeated(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    app_lines = fill(fake_registry, 2)
    content = {str(digest) for number in range(2) for digest in small(f"app{number}", BASE).blobs}
    for path in ("/v2/app0/manifests/1", "/v2/app1/manifests/1", *content):
        fake_registry.fail(path, Status(503))
    events: list[Event] = []
    report = await run(tmp_path, *app_lines, events=events)
    assert report.status == 0
    assert [len(fake_registry.asked(f"/v2/app{number}/manifests/1")) for number in range(2)] == [2, 2]
    assert set(fake_registry.blobs_asked().values()) == {2}
    assert len([event for event in events if isinstance(event, Retrying)]) == 7


async def test_a_blob_that_always_fails_ends_after_the_retries(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    app_lines = fill(fake_registry, 1)
    fake_registry.fail("/blobs/", Status(502), times=None)
    report = await run(tmp_path, *app_lines)
    error = report.failed[0].error
    assert isinstance(error, RegistryError)
    assert error.status == 502
    assert max(fake_registry.blobs_asked().values()) == 3


async def test_a_broken_body_goes_on_from_where_it_stopped(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    data = bytes(range(256)) * 8000
    big = layer({"big": data}, "none")
    fake_registry.add("big:1", image([big], AMD64))
    fake_registry.fail(str(big.digest), Cut(1_000_000))
    events: list[Event] = []
    report = await run(tmp_path, f"{fake_registry.address}/big:1", events=events)
    assert report.status == 0, report.failed
    ranges = [request.headers.get("Range") for request in fake_registry.asked(str(big.digest))]
    assert ranges == [None, "bytes=1000000-"]
    starts = [event.start for event in events if isinstance(event, BlobStarted) and event.digest == big.digest]
    assert starts == [0, 1_000_000]
    assert (tmp_path / "out" / "share" / "sha256" / big.digest.hex).read_bytes() == big.data


async def test_after_a_range_with_too_many_bytes_the_whole_blob_is_fetched(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    big = layer({"big": bytes(range(256)) * 8000}, "none")
    fake_registry.add("big:1", image([big], AMD64))
    fake_registry.fail(str(big.digest), Cut(1_000_000))

    async def more(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "Range" not in request.headers:
            return await handler(request)
        size = len(big.data)
        response = web.StreamResponse(status=206, headers={"Content-Range": f"bytes 1000000-{size - 1}/{size}"})
        await response.prepare(request)
        await response.write(big.data[1_000_000:] + b"!")
        return response

    fake_registry.fail(str(big.digest), more, times=None)
    report = await run(tmp_path, f"{fake_registry.address}/big:1")
    assert report.status == 0, report.failed
    assert fake_registry.blobs_asked()[str(big.digest)] == 3


@pytest.mark.parametrize("more", [0, 1, 1000])
async def test_a_server_that_starts_again_and_breaks_at_the_same_byte_uses_up_the_tries(
    fake_registry: FakeRegistry, tmp_path: Path, more: int
) -> None:
    """It knows no ranges: each try brings bytes, and none of them is new, or hardly any."""
    big = layer({"big": bytes(range(256)) * 8000}, "none")
    fake_registry.add("big:1", image([big], AMD64))

    async def cut(request: web.Request, handler: Handler) -> web.StreamResponse:
        end = 1_000_000 + more * len(fake_registry.asked(str(big.digest)))
        return await IgnoreRange()(request, partial(Cut(end), handler=handler))

    fake_registry.fail(str(big.digest), cut, times=None)
    report = await run(tmp_path, f"{fake_registry.address}/big:1")
    assert isinstance(report.failed[0].error, NetworkError)
    # The first one brought bytes and used up no try, and two are repeated.
    assert fake_registry.blobs_asked()[str(big.digest)] == 4


async def test_a_break_behind_the_last_byte_costs_nothing(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    app_lines = fill(fake_registry, 1)
    fake_registry.fail(str(BASE.digest), Unended(), times=None)
    report = await run(tmp_path, *app_lines)
    assert report.status == 0, report.failed
    assert fake_registry.blobs_asked()[str(BASE.digest)] == 1


async def test_a_wrong_blob_is_never_kept(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    app_lines = fill(fake_registry, 1)
    fake_registry.fail(str(BASE.digest), Bytes(lambda data: data[:-1] + b"!"), times=None)
    report = await run(tmp_path, *app_lines)
    assert isinstance(report.failed[0].error, DigestMismatch)
    assert fake_registry.blobs_asked()[str(BASE.digest)] == 2
    assert not (tmp_path / "saved-image-cache" / "share" / "sha256" / BASE.digest.hex).exists()


async def test_a_wrong_manifest_is_never_kept(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    one, other = small("one"), small("other")
    fake_registry.add("a:1", index([one, small("two", platform=ARM64)]))
    fake_registry.fail(str(one.digest), Status(200, {"Content-Type": other.media_type}, other.raw), times=None)
    report = await run(tmp_path, f"{fake_registry.address}/a:1")
    assert isinstance(report.failed[0].error, DigestMismatch)
    names = {path.name for path in (tmp_path / "saved-image-cache" / "share" / "sha256").iterdir()}
    assert not {one.digest.hex, other.digest.hex} & names


async def test_an_index_that_lies_about_a_size(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    one = small("one")
    raw = index([one]).raw.replace(f'"size": {len(one.raw)}'.encode(), b'"size": 7')
    assert raw != index([one]).raw
    fake_registry.add("a", one)
    fake_registry.content.add_manifest("a", raw, "application/vnd.oci.image.index.v1+json", ["1"])
    report = await run(tmp_path, f"{fake_registry.address}/a:1")
    assert isinstance(report.failed[0].error, DigestMismatch)


async def test_a_closed_port_fails_every_image(tmp_path: Path) -> None:
    report = await run(tmp_path, "127.0.0.1:1/a:1", "127.0.0.1:1/b:1")
    assert report.status == 3
    assert all(isinstance(outcome.error, NetworkError) for outcome in report.failed)


async def test_a_registry_that_goes_away_is_waited_for_and_no_image_fails(tmp_path: Path) -> None:
    names = [f"app{number}:1" for number in range(20)]
    time, events = FakeClock(), list[Event]()
    is_back, waited = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        if seconds >= 10.0:
            waited.set()
            await is_back.wait()
        await time.sleep(seconds)

    async with fake_registry() as registry:
        for number, name in enumerate(names):
            registry.add(name, small(f"app{number}", BASE))
        lines = [f"{registry.address}/{name}" for name in names]
        settings = RegistrySettings(retry=RetryPolicy())
        wanted = options(tmp_path, *lines, requests=2, environment=Environment(registries=settings))
        saving = asyncio.create_task(save(wanted, events.append, clock=replace(time.clock, sleep=sleep)))
        await turns_until(lambda: len(registry.asked("/manifests/")) >= 5)
    await waited.wait()
    async with fake_registry(registry.content, port=int(registry.address.rpartition(":")[2])):
        is_back.set()
        report = await saving
    assert report.status == 0, report.failed
    told = [event for event in events if isinstance(event, HostUnreachable | HostReached)]
    assert [(type(event), event.host) for event in told] == [
        (HostUnreachable, registry.address), (HostReached, registry.address)
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["refuses", "drops"])
async def test_a_registry_that_never_answers_costs_few_connections_and_holds_up_no_other(
    fake_registry: FakeRegistry, tmp_path: Path, how: str
) -> None:
    good = fill(fake_registry, 20)
    time, events = FakeClock(), list[Event]()
    connections = 0

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    if how == "refuses":
        server.close()
    async with server:
        lines = [line for number in range(20) for line in (f"{address}/gone{number}:1", good[number])]
        settings = RegistrySettings(retry=RetryPolicy())
        wanted = options(tmp_path, *lines, environment=Environment(registries=settings))
        report = await save(wanted, events.append, clock=time.clock)
    assert [outcome.ok for outcome in report.outcomes] == [False, True] * 20
    assert all("gave no answer in this run" in str(outcome.error) for outcome in report.failed), report.failed
    assert len([event for event in events if isinstance(event, HostUnreachable)]) == 1
    assert len([event for event in events if isinstance(event, Retrying)]) <= 4
    # Plain HTTP and HTTPS, for each of the tries before the pauses and of the two probes; some share a discovery.
    assert connections <= 2 * 12


async def test_an_image_that_fails_lets_go_of_what_nobody_else_needs(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    """The held blob is needed by the failing image alone: its fetch is ended, or the run would never end."""
    held, missing = layer({"held": b"h" * 9000}, "none"), layer({"missing": b"m"}, "none")
    fake_registry.add("bad:1", image([held, missing], AMD64))
    fake_registry.content.remove("bad", missing.digest)
    fake_registry.add("good:1", small("good"))
    for_ever = Hold(asyncio.Event())
    fake_registry.fail(str(held.digest), for_ever)
    fake_registry.fail(str(missing.digest), Hold(until=for_ever.reached))
    async with asyncio.timeout(30):
        report = await run(tmp_path, f"{fake_registry.address}/bad:1", f"{fake_registry.address}/good:1")
    assert [outcome.ok for outcome in report.outcomes] == [False, True]


async def test_an_image_that_fails_does_not_take_a_shared_fetch_with_it(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    missing = layer({"missing": b"m"}, "none")
    fake_registry.add("bad:1", image([BASE, missing], AMD64))
    fake_registry.content.remove("bad", missing.digest)
    fake_registry.add("good:1", image([BASE], AMD64, labels={"a": "b"}))
    events: list[Event] = []
    at_once = asyncio.Event()
    at_once.set()
    failing = Hold(until=at_once)
    fake_registry.fail(str(missing.digest), failing)
    fake_registry.fail(str(BASE.digest), Hold(until=failing.reached))
    report = await run(
        tmp_path, f"{fake_registry.address}/bad:1", f"{fake_registry.address}/good:1", events=events, jobs=4
    )
    assert [outcome.ok for outcome in report.outcomes] == [False, True]
    assert fake_registry.blobs_asked()[str(BASE.digest)] == 1


async def test_credentials_of_the_environment_go_to_the_one_registry_of_the_list(tmp_path: Path) -> None:
    settings = RegistrySettings(username="u", password="p:w", retry=RetryPolicy(0, 0.0, 0.0))
    environment = Environment(registries=settings)

    def sent(*registries: FakeRegistry) -> list[str | None]:
        return [request.authorization for registry in registries for request in registry.requests]

    users = {"u": "p:w"}
    async with fake_registry(auth=Basic(users)) as one, fake_registry(auth=Basic(users)) as two:
        for each in (one, two):
            each.add("a:1", small("a"))
        report = await run(tmp_path, f"{one.address}/a:1", environment=environment)
        assert report.status == 0, report.failed
        assert sent(one)[1] == "Basic dTpwOnc="
        one.requests.clear()
        both = f"{one.address}/a:1", f"{two.address}/a:1"
        report = await run(tmp_path, *both, environment=environment, destination=tmp_path / "both")
        assert set(sent(one, two)) == {None}
        assert "SOURCE_USERNAME is not used" in report.notices[0]


async def test_the_digest_of_what_was_saved_is_the_registrys(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    built = index([small("a", docker=True), small("b", platform=ARM64, docker=True)], docker=True)
    fake_registry.add("a:1", built)
    await run(tmp_path, f"{fake_registry.address}/a:1")
    for path in (tmp_path / "out" / "share" / "sha256").iterdir():
        digest = Digest("sha256", path.name)
        data = path.read_bytes()
        assert Digest.of(data) == digest
        assert data == built.blobs.get(digest, built.documents.get(digest, ("", b""))[1])


#: Longer than any manifest may be.
LARGE = layer({"large": random.Random(5).randbytes(5 << 20)}, "none")
BY_TAG = r"/manifests/1$"
MANIFESTS = "/manifests/"
BLOBS = "/blobs/"
NO_RETRIES = Environment(registries=RegistrySettings(retry=RetryPolicy(retries=0, first=0.0, longest=0.0)))


def counts(registry: FakeRegistry) -> tuple[int, int, int]:
    """How often manifests were asked for by HEAD and by GET, and blobs."""
    heads, gets = (len(registry.asked(MANIFESTS, method)) for method in ("HEAD", "GET"))
    return heads, gets, len(registry.asked(BLOBS))


def blob(tmp_path: Path, digest: Digest) -> Path:
    return tmp_path / "saved-image-cache" / "share" / "sha256" / digest.hex


async def test_an_empty_cache_costs_no_head(fake_registry: FakeRegistry, app_lines: list[str], tmp_path: Path) -> None:
    report = await bring(tmp_path, *app_lines)
    assert report.status == 0
    assert fake_registry.asked(method="HEAD") == []
    assert len(fake_registry.asked(BY_TAG, "GET")) == 3


async def test_an_unchanged_image_costs_a_head_alone(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]], tmp_path: Path
) -> None:
    before = (tmp_path / "out.tar.gz").read_bytes()
    events: list[Event] = []
    report = await warm_cache(events=events)
    assert report.status == 0
    assert counts(fake_registry) == (3, 0, 0)
    assert (tmp_path / "out.tar.gz").read_bytes() == before
    # Three indexes, two manifests of each, a config and a layer of each of these, and the layer of all.
    assert report.traffic.reused_blobs == len([one for one in events if isinstance(one, BlobReused)]) == 22
    assert (report.traffic.fetched_blobs, report.traffic.fetched_bytes) == (0, 0)


async def test_the_same_of_sync(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]], app_lines: list[str], tmp_path: Path
) -> None:
    assert (await sync(sync_options(tmp_path, *app_lines))).status == 0
    assert counts(fake_registry) == (3, 0, 0)


@pytest.mark.parametrize("tag", ["", ":1"])
async def test_an_image_by_digest_costs_no_request(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]], tag: str
) -> None:
    report = await warm_cache(f"{fake_registry.address}/app0{tag}@{app(0).digest}", referrers="none")
    assert report.status == 0
    assert fake_registry.requests == []


async def test_a_tag_that_moved_costs_both(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]], tmp_path: Path
) -> None:
    digest = fake_registry.add("app1:1", small("other", BASE))
    report = await warm_cache()
    assert report.status == 0
    assert [one.image.digest for one in report.outcomes if one.image] == [app(0).digest, digest, app(2).digest]
    assert counts(fake_registry) == (3, 1, 2)


async def test_a_tag_that_moved_to_what_is_here_costs_a_head(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]]
) -> None:
    fake_registry.add("app1:1", app(0))
    report = await warm_cache()
    assert report.outcomes[1].image is not None
    assert report.outcomes[1].image.digest == app(0).digest
    assert counts(fake_registry) == (3, 0, 0)


@pytest.mark.parametrize(
    "fault",
    [Status(status) for status in (400, 401, 403, 404, 405, 500, 501, 503)]
    + [Headers({"Docker-Content-Digest": told}) for told in (None, "", "sha256:no", "md5:00")],
    ids=str,
)
async def test_a_head_that_is_refused_or_says_nothing_is_followed_by_a_get_at_once(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]], fault: Fault
) -> None:
    fake_registry.fail(MANIFESTS, fault, method="HEAD", times=None)
    events: list[Event] = []
    report = await warm_cache(events=events, environment=NO_RETRIES)
    assert report.status == 0, report.failed
    assert not [one for one in events if isinstance(one, Retrying | HostClosed)]
    heads = [one.path for one in fake_registry.asked(BY_TAG, "HEAD")]
    assert len(set(heads)) == 3
    assert len(fake_registry.asked(BY_TAG, "GET")) == 3
    assert counts(fake_registry)[1:] == (3, 0)


async def test_a_head_that_gets_no_answer_counts_as_a_try(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]], app_lines: list[str]
) -> None:
    fake_registry.fail(MANIFESTS, Close(), method="HEAD", times=None)
    events: list[Event] = []
    report = await warm_cache(app_lines[0], events=events)
    assert report.status == 0, report.failed
    assert [one.attempt for one in events if isinstance(one, Retrying)] == [1]
    assert counts(fake_registry)[1:] == (1, 0)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_head_beyond_the_quota_holds_up_the_get_as_long_as_it_says(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]], app_lines: list[str], status: int
) -> None:
    fake_registry.fail(MANIFESTS, Status(status, {"Retry-After": "7"}), method="HEAD", times=None)
    events: list[Event] = []
    report = await warm_cache(app_lines[0], events=events, environment=NO_RETRIES)
    assert report.status == 0, report.failed
    assert [one.seconds for one in events if isinstance(one, HostClosed)] == [7.0]
    assert counts(fake_registry) == (1, 1, 0)


async def test_a_storage_that_refuses_holds_up_blobs_and_no_manifest(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    lines = fill(fake_registry, 12)
    blobs = {str(digest): data for n in range(12) for digest, data in small(f"app{n}", BASE).blobs.items()}
    time, events = FakeClock(), list[Event]()

    async def give(request: web.Request) -> web.StreamResponse:
        if len(storage.requests) == 1:
            return web.Response(status=429, headers={"Retry-After": "60"})
        return web.Response(body=blobs[request.path.rpartition("/")[2]])

    async def lead(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": f"http://{storage.address}{request.path}"})

    async def sleep(seconds: float) -> None:
        # The pause lasts until all manifests were asked for.
        await turns_until(lambda: len(fake_registry.asked("/manifests/")) == 12)
        await time.sleep(seconds)

    async with answering(give) as storage:
        fake_registry.fail("/blobs/", Function(lead), method="GET", times=None)
        clock = replace(time.clock, sleep=sleep)
        report = await save(options(tmp_path, *lines, requests=1), events.append, clock=clock)
        assert report.status == 0, report.failed
        closed = [(event.host, event.seconds) for event in events if isinstance(event, HostClosed)]
        assert closed == [(storage.address, 60.0)]
        # All other requests for blobs waited.
        assert len(storage.requests) == len(blobs) + 1


async def test_a_head_that_is_to_wait_too_long_fails_as_a_get_would(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]], app_lines: list[str]
) -> None:
    fake_registry.fail(MANIFESTS, Status(429, {"Retry-After": "21600"}), times=None)
    report = await warm_cache(app_lines[0])
    assert isinstance(report.failed[0].error, RateLimited)
    assert counts(fake_registry) == (1, 0, 0)


async def test_an_image_that_is_gone_is_not_found(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]]
) -> None:
    report = await warm_cache(f"{fake_registry.address}/gone:1")
    assert isinstance(report.failed[0].error, NotFound)
    assert counts(fake_registry) == (1, 1, 0)


async def test_a_head_may_name_what_is_no_manifest(
    fake_registry: FakeRegistry, app_lines: list[str], tmp_path: Path
) -> None:
    large = image([LARGE, BASE], AMD64)
    fake_registry.add("large:1", large)
    await bring(tmp_path, *app_lines, f"{fake_registry.address}/large:1")
    config = next(digest for digest in large.blobs if digest not in (LARGE.digest, BASE.digest))
    for digest in (LARGE.digest, BASE.digest, config, Digest.of(b"nobody has this")):
        fake_registry.requests.clear()
        size = str(len(large.blobs.get(digest, b"")))
        told = {"Docker-Content-Digest": str(digest), "Content-Length": size}
        fake_registry.faults.rules.clear()
        fake_registry.fail(MANIFESTS, Headers(told), method="HEAD", times=None)
        report = await bring(tmp_path, app_lines[0])
        assert report.status == 0, report.failed
        assert report.saved[0].image is not None
        assert report.saved[0].image.digest == app(0).digest
        assert counts(fake_registry) == (1, 1, 0)


async def test_a_layer_that_is_named_as_a_manifest_fails_its_image_alone(
    fake_registry: FakeRegistry, app_lines: list[str], tmp_path: Path
) -> None:
    """It is in the cache, and longer than a manifest may be: nobody's disk is at fault."""
    fake_registry.add("large:1", image([LARGE], AMD64))
    await bring(tmp_path, f"{fake_registry.address}/large:1")
    by_digest = f"{fake_registry.address}/large@{LARGE.digest}"
    entry = Built(LARGE.data, media_types.OCI_MANIFEST, {}, {}, AMD64)
    fake_registry.add("odd:1", index([entry]))
    report = await bring(tmp_path, by_digest, f"{fake_registry.address}/odd:1", app_lines[0])
    assert [type(one.error) for one in report.outcomes] == [NotFound, ContentError, type(None)]


@pytest.mark.parametrize("told", [{"Content-Length": "1"}, {"Content-Type": media_types.OCI_MANIFEST}], ids=str)
async def test_a_head_that_contradicts_what_is_here_is_not_believed(
    fake_registry: FakeRegistry,
    warm_cache: Callable[..., Awaitable[Report]],
    app_lines: list[str],
    told: dict[str, str],
) -> None:
    fake_registry.fail(MANIFESTS, Headers(told), method="HEAD", times=None)
    report = await warm_cache(app_lines[0])
    assert report.status == 0, report.failed
    assert counts(fake_registry) == (1, 1, 0)


async def test_another_algorithm_does_not_change_what_the_image_is_called(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]], app_lines: list[str], tmp_path: Path
) -> None:
    other = Digest.of(app(0).raw, "sha512")
    place = tmp_path / "saved-image-cache" / "share" / "sha512"
    place.mkdir()
    (place / other.hex).write_bytes(app(0).raw)
    told = Headers({"Docker-Content-Digest": str(other)})
    fake_registry.fail(MANIFESTS, told, method="HEAD", times=None)
    report = await warm_cache(app_lines[0])
    assert report.saved[0].image is not None
    assert report.saved[0].image.digest == app(0).digest
    assert counts(fake_registry) == (1, 1, 0)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: b"{" + data[1:-1] + b" "], ids=["cut", "other"]
)
async def test_a_damaged_manifest_in_the_cache_is_fetched_again(
    fake_registry: FakeRegistry,
    warm_cache: Callable[..., Awaitable[Report]],
    app_lines: list[str],
    tmp_path: Path,
    change: Callable[[bytes], bytes],
) -> None:
    before = (tmp_path / "out.tar.gz").read_bytes()
    root = blob(tmp_path, app(1).digest)
    root.write_bytes(change(root.read_bytes()))
    report = await warm_cache()
    assert report.status == 0
    assert counts(fake_registry) == (3, 1, 0)
    assert root.read_bytes() == app(1).raw
    assert (tmp_path / "out.tar.gz").read_bytes() == before
    # By its digest too.
    root.write_bytes(change(root.read_bytes()))
    fake_registry.requests.clear()
    report = await warm_cache(f"{fake_registry.address}/app1@{app(1).digest}")
    assert report.status == 0
    assert counts(fake_registry) == (0, 1, 0)
    assert root.read_bytes() == app(1).raw


async def test_many_names_of_one_damaged_manifest(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]], tmp_path: Path
) -> None:
    """The others do not take the repaired manifest for the damaged one."""
    names = [f"{fake_registry.address}/copy{number}:1" for number in range(12)]
    for number in range(12):
        fake_registry.add(f"copy{number}:1", app(0))
    root = blob(tmp_path, app(0).digest)
    root.write_bytes(b"x" * len(app(0).raw))
    report = await warm_cache(*names, jobs=12)
    assert report.status == 0, report.failed
    assert root.read_bytes() == app(0).raw


async def test_the_rest_of_the_quota_is_reported_after_a_head_too(
    fake_registry: FakeRegistry, warm_cache: Callable[..., Awaitable[Report]], app_lines: list[str]
) -> None:
    left = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"}
    fake_registry.fail(MANIFESTS, Headers(left), method="HEAD", times=None)
    events: list[Event] = []
    await warm_cache(app_lines[0], events=events)
    told = [one for one in events if isinstance(one, QuotaReported)]
    assert told == [QuotaReported(fake_registry.address, 76, 100, 21600)]
