"""How content is fetched: once, in order, from whoever gives it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from hangar_async.engine.events import BlobReused, BlobStarted, Event, Retrying
from hangar_async.errors import DigestMismatch, NetworkError, NotFound, RegistryError
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import image, index, layer
from tests.engine.rig import AMD64, ARM64, Registry, registry, run, small

BASE = layer({"base": b"base" * 5000})


@pytest.fixture
async def served() -> AsyncIterator[Registry]:
    async with registry() as found:
        yield found


def fill(served: Registry, count: int) -> list[str]:
    for number in range(count):
        served.content.add(f"app{number}:1", small(f"app{number}", BASE))
    return [f"{served.address}/app{number}:1" for number in range(count)]


@pytest.mark.parametrize("jobs", [1, 4, 20])
async def test_a_shared_layer_crosses_the_network_once(served: Registry, tmp_path: Path, jobs: int) -> None:
    lines = fill(served, 40)
    report = await run(tmp_path, *lines, jobs=jobs)
    assert report.status == 0
    assert set(served.blobs_asked().values()) == {1}
    assert served.blobs_asked()[str(BASE.digest)] == 1
    manifests = [count for path, count in served.asked.items() if "/manifests/" in path]
    assert manifests == [1] * 40
    assert served.peak <= jobs
    assert jobs == 1 or served.peak > 1


async def test_a_manifest_that_two_images_share_is_asked_for_once(served: Registry, tmp_path: Path) -> None:
    one = small("one")
    served.content.add("a:1", index([one, small("two", platform=ARM64)]))
    served.content.add("a:2", index([one]))
    await run(tmp_path, f"{served.address}/a:1", f"{served.address}/a:2")
    assert served.asked[f"/v2/a/manifests/{one.digest}"] == 1


async def test_one_job_is_one_at_a_time_in_the_order_of_the_list(served: Registry, tmp_path: Path) -> None:
    large, little = layer({"large": bytes(range(256)) * 400}, "none"), layer({"little": b"x"}, "none")
    served.content.add("a:1", index([image([little, large], AMD64)]))
    served.content.add("b:1", index([small("b")]))
    await run(tmp_path, f"{served.address}/a:1", f"{served.address}/b:1", jobs=1)
    asked = [path for path in served.order if "/blobs/" in path or "/manifests/" in path]
    blobs = [path.rpartition("/")[2] for path in asked if path.startswith("/v2/a/blobs/")]
    assert served.peak == 1
    assert blobs.index(str(large.digest)) < blobs.index(str(little.digest))
    order = [path.split("/")[2] for path in asked if "/blobs/" in path]
    # The permit is idle while the first image's blobs are looked for in the cache: the second may take it, once.
    assert sorted(order) == ["a"] * 3 + ["b"] * 2
    assert order[1:] == sorted(order[1:])


async def test_a_second_run_fetches_no_blob_and_a_damaged_one_again(served: Registry, tmp_path: Path) -> None:
    lines = fill(served, 3)
    await run(tmp_path, *lines, format="gzip", destination=tmp_path / "out.tar.gz")
    served.asked.clear()
    events: list[Event] = []
    report = await run(tmp_path, *lines, format="gzip", destination=tmp_path / "out.tar.gz", events=events)
    assert served.blobs_asked() == {}
    assert report.traffic.reused_blobs == len([event for event in events if isinstance(event, BlobReused)]) == 10
    damaged = tmp_path / "saved-image-cache" / "share" / "sha256" / BASE.digest.hex
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    await run(tmp_path, *lines, format="gzip", destination=tmp_path / "out.tar.gz")
    assert served.blobs_asked() == {str(BASE.digest): 1}


async def test_an_image_by_digest_that_is_held_needs_no_request(served: Registry, tmp_path: Path) -> None:
    digest = served.content.add("a:1", small("a"))
    line = f"{served.address}/a@{digest}"
    await run(tmp_path, line, format="gzip")
    served.asked.clear()
    await run(tmp_path, line, format="gzip")
    assert served.asked == {}


async def test_a_digest_is_tried_from_the_next_image_that_names_it(served: Registry, tmp_path: Path) -> None:
    lines = fill(served, 3)
    served.content.remove("app0", BASE.digest)
    served.content.remove("app1", BASE.digest)
    report = await run(tmp_path, *lines, jobs=1)
    assert report.status == 0, report.failed
    asked = [served.asked[f"/v2/app{number}/blobs/{BASE.digest}"] for number in range(3)]
    assert max(asked) == asked[2] == 1


async def test_a_digest_that_nobody_gives_fails_all_who_need_it_and_no_other(served: Registry, tmp_path: Path) -> None:
    lines = fill(served, 3)
    for number in range(3):
        served.content.remove(f"app{number}", BASE.digest)
    served.content.add("good:1", small("good"))
    report = await run(tmp_path, *lines, f"{served.address}/good:1")
    assert [type(outcome.error) for outcome in report.outcomes] == [NotFound] * 3 + [type(None)]
    for number, outcome in enumerate(report.failed):
        assert f"app{number}" in str(outcome.error)


async def test_what_recovers_is_tried_again(served: Registry, tmp_path: Path) -> None:
    lines = fill(served, 2)

    async def fail_once(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=503) if served.asked[request.path] == 1 and request.path != "/v2/" else None

    served.fault = fail_once
    events: list[Event] = []
    report = await run(tmp_path, *lines, events=events)
    assert report.status == 0
    assert {count for path, count in served.asked.items() if path != "/v2/"} == {2}
    assert len([event for event in events if isinstance(event, Retrying)]) == 7


async def test_what_always_fails_ends(served: Registry, tmp_path: Path) -> None:
    lines = fill(served, 1)

    async def fail(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=502) if "/blobs/" in request.path else None

    served.fault = fail
    report = await run(tmp_path, *lines)
    error = report.failed[0].error
    assert isinstance(error, RegistryError)
    assert error.status == 502
    assert max(served.blobs_asked().values()) == 3


async def test_a_broken_body_goes_on_from_where_it_stopped(served: Registry, tmp_path: Path) -> None:
    data = bytes(range(256)) * 8000
    big = layer({"big": data}, "none")
    served.content.add("big:1", image([big], AMD64))
    ranges: list[str | None] = []

    async def cut(request: web.Request) -> web.StreamResponse | None:
        if not request.path.endswith(str(big.digest)):
            return None
        ranges.append(request.headers.get("Range"))
        if len(ranges) > 1:
            return None
        answer = web.StreamResponse(headers={"Content-Length": str(len(big.data))})
        await answer.prepare(request)
        await answer.write(big.data[:1_000_000])
        assert request.transport is not None
        request.transport.close()
        return answer

    served.fault = cut
    events: list[Event] = []
    report = await run(tmp_path, f"{served.address}/big:1", events=events)
    assert report.status == 0, report.failed
    assert ranges == [None, "bytes=1000000-"]
    starts = [event.start for event in events if isinstance(event, BlobStarted) and event.digest == big.digest]
    assert starts == [0, 1_000_000]
    assert (tmp_path / "out" / "share" / "sha256" / big.digest.hex).read_bytes() == big.data


async def test_a_break_behind_the_last_byte_costs_nothing(served: Registry, tmp_path: Path) -> None:
    lines = fill(served, 1)

    async def cut(request: web.Request) -> web.StreamResponse | None:
        if not request.path.endswith(str(BASE.digest)):
            return None
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        await answer.write(BASE.data)
        assert request.transport is not None
        request.transport.close()  # without the chunk that ends the body
        return answer

    served.fault = cut
    report = await run(tmp_path, *lines)
    assert report.status == 0, report.failed
    assert served.blobs_asked()[str(BASE.digest)] == 1


async def test_a_wrong_blob_is_never_kept(served: Registry, tmp_path: Path) -> None:
    lines = fill(served, 1)

    async def forge(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith(str(BASE.digest)):
            return web.Response(body=BASE.data[:-1] + b"!")
        return None

    served.fault = forge
    report = await run(tmp_path, *lines)
    assert isinstance(report.failed[0].error, DigestMismatch)
    assert served.blobs_asked()[str(BASE.digest)] == 2
    assert not (tmp_path / "saved-image-cache" / "share" / "sha256" / BASE.digest.hex).exists()


async def test_a_wrong_manifest_is_never_kept(served: Registry, tmp_path: Path) -> None:
    one, other = small("one"), small("other")
    served.content.add("a:1", index([one, small("two", platform=ARM64)]))

    async def forge(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith(str(one.digest)):
            return web.Response(body=other.raw, content_type=other.media_type)
        return None

    served.fault = forge
    report = await run(tmp_path, f"{served.address}/a:1")
    assert isinstance(report.failed[0].error, DigestMismatch)
    names = {path.name for path in (tmp_path / "saved-image-cache" / "share" / "sha256").iterdir()}
    assert not {one.digest.hex, other.digest.hex} & names


async def test_an_index_that_lies_about_a_size(served: Registry, tmp_path: Path) -> None:
    one = small("one")
    raw = index([one]).raw.replace(f'"size": {len(one.raw)}'.encode(), b'"size": 7')
    assert raw != index([one]).raw
    served.content.add("a", one)
    served.content.add_manifest("a", raw, "application/vnd.oci.image.index.v1+json", ["1"])
    report = await run(tmp_path, f"{served.address}/a:1")
    assert isinstance(report.failed[0].error, DigestMismatch)


async def test_nobody_there(tmp_path: Path) -> None:
    report = await run(tmp_path, "127.0.0.1:1/a:1", "127.0.0.1:1/b:1")
    assert report.status == 3
    assert all(isinstance(outcome.error, NetworkError) for outcome in report.failed)


async def test_an_image_that_fails_lets_go_of_what_nobody_else_needs(served: Registry, tmp_path: Path) -> None:
    """The held blob is needed by the failing image alone: its fetch is ended, or the run would never end."""
    held, missing = layer({"held": b"h" * 9000}, "none"), layer({"missing": b"m"}, "none")
    served.content.add("bad:1", image([held, missing], AMD64))
    served.content.remove("bad", missing.digest)
    served.content.add("good:1", small("good"))
    begun = asyncio.Event()

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith(str(held.digest)):
            begun.set()
            await asyncio.Event().wait()
        if request.path.endswith(str(missing.digest)):
            await begun.wait()
        return None

    served.fault = fault
    async with asyncio.timeout(30):
        report = await run(tmp_path, f"{served.address}/bad:1", f"{served.address}/good:1")
    assert [outcome.ok for outcome in report.outcomes] == [False, True]


async def test_an_image_that_fails_does_not_take_a_shared_fetch_with_it(served: Registry, tmp_path: Path) -> None:
    missing = layer({"missing": b"m"}, "none")
    served.content.add("bad:1", image([BASE, missing], AMD64))
    served.content.remove("bad", missing.digest)
    served.content.add("good:1", image([BASE], AMD64, labels={"a": "b"}))
    go_on = asyncio.Event()
    events: list[Event] = []

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith(str(BASE.digest)):
            await go_on.wait()
        if request.path.endswith(str(missing.digest)):
            asyncio.get_running_loop().call_later(0, go_on.set)
        return None

    served.fault = fault
    report = await run(tmp_path, f"{served.address}/bad:1", f"{served.address}/good:1", events=events, jobs=4)
    assert [outcome.ok for outcome in report.outcomes] == [False, True]
    assert served.blobs_asked()[str(BASE.digest)] == 1


async def test_credentials_of_the_environment_go_to_the_one_registry_of_the_list(tmp_path: Path) -> None:
    from dataclasses import replace

    from hangar_async.config.environment import Environment
    from hangar_async.config.registries import RegistrySettings, RetryPolicy

    settings = RegistrySettings(username="u", password="p:w", retry=RetryPolicy(0, 0.0, 0.0))
    environment = Environment(registries=settings)
    sent: list[str | None] = []

    async def want_basic(request: web.Request) -> web.StreamResponse | None:
        sent.append(request.headers.get("Authorization"))
        if sent[-1] is None:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        return None

    async with registry() as one, registry() as two:
        for each in (one, two):
            each.content.add("a:1", small("a"))
            each.fault = want_basic
        report = await run(tmp_path, f"{one.address}/a:1", environment=environment)
        assert report.status == 0, report.failed
        assert sent[1] == "Basic dTpwOnc="
        sent.clear()
        both = f"{one.address}/a:1", f"{two.address}/a:1"
        report = await run(tmp_path, *both, environment=environment, destination=tmp_path / "both")
        assert set(sent) == {None}
        assert "SOURCE_USERNAME is not used" in report.notices[0]
        assert replace(settings).password == "p:w"


async def test_the_digest_of_what_was_saved_is_the_registrys(served: Registry, tmp_path: Path) -> None:
    built = index([small("a", docker=True), small("b", platform=ARM64, docker=True)], docker=True)
    served.content.add("a:1", built)
    await run(tmp_path, f"{served.address}/a:1")
    for path in (tmp_path / "out" / "share" / "sha256").iterdir():
        digest = Digest("sha256", path.name)
        data = path.read_bytes()
        assert Digest.of(data) == digest
        assert data == built.blobs.get(digest, built.documents.get(digest, ("", b""))[1])
