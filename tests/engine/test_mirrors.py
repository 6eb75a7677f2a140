"""Images from mirrors, and from the registry behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings, RetryPolicy, join_routes, parse_mirror
from hangar_async.engine.events import Event, Retrying
from hangar_async.engine.reports import Report
from hangar_async.errors import NetworkError, NotFound
from hangar_async.testing.images import index, layer
from tests.engine.rig import ARM64, Registry, registry, run, small

BASE = layer({"base": b"base" * 5000})
IMAGE = index([small("app", BASE), small("app", platform=ARM64)])


@pytest.fixture
async def origin() -> AsyncIterator[Registry]:
    async with registry() as found:
        found.content.add("team/app:1", IMAGE)
        yield found


@pytest.fixture
async def mirror() -> AsyncIterator[Registry]:
    async with registry() as found:
        found.content.add("cache/team/app:1", IMAGE)
        yield found


async def save(tmp_path: Path, origin: Registry, *mirrors: str, **keywords: Any) -> Report:
    routes = join_routes(parse_mirror(f"{origin.address}={mirror}") for mirror in mirrors)
    settings = RegistrySettings(retry=RetryPolicy(retries=2, first=0.0, longest=0.0), mirrors=routes)
    environment = Environment(registries=settings)
    return await run(tmp_path, f"{origin.address}/team/app:1", environment=environment, **keywords)


def digests(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "out" / "share" / "sha256").iterdir()}


def all_of(image: Any) -> set[str]:
    return {digest.hex for digest in (*image.blobs, *image.documents)}


async def test_a_mirror_gives_all_and_the_registry_is_not_asked(
    origin: Registry, mirror: Registry, tmp_path: Path
) -> None:
    report = await save(tmp_path, origin, f"{mirror.address}/cache")
    assert report.status == 0, report.failed
    assert origin.asked == {}
    assert all_of(IMAGE) <= digests(tmp_path)
    [outcome] = report.saved
    assert outcome.image is not None
    assert outcome.image.reference.registry == origin.address


async def test_what_the_mirror_lacks_comes_from_the_registry(
    origin: Registry, mirror: Registry, tmp_path: Path
) -> None:
    mirror.content.remove("cache/team/app", BASE.digest)
    report = await save(tmp_path, origin, f"{mirror.address}/cache")
    assert report.status == 0, report.failed
    assert origin.blobs_asked() == {str(BASE.digest): 1}
    assert mirror.blobs_asked()[str(BASE.digest)] == 1


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_a_mirror_that_refuses_all_costs_one_try_and_no_wait(
    origin: Registry, mirror: Registry, tmp_path: Path, status: int
) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse | None:
        return None if request.path == "/v2/" else web.Response(status=status, headers={"Retry-After": "600"})

    mirror.fault = refuse
    events: list[Event] = []
    report = await save(tmp_path, origin, f"{mirror.address}/cache", events=events)
    assert report.status == 0, report.failed
    assert not [event for event in events if isinstance(event, Retrying)]
    assert max(mirror.asked.values()) == 1


async def test_a_wrong_byte_of_a_mirror_is_found(origin: Registry, mirror: Registry, tmp_path: Path) -> None:
    async def forge(request: web.Request) -> web.StreamResponse | None:
        wrong = request.path.endswith(str(BASE.digest))
        return web.Response(body=BASE.data[:-1] + b"!") if wrong else None

    mirror.fault = forge
    report = await save(tmp_path, origin, f"{mirror.address}/cache")
    assert report.status == 0, report.failed
    assert origin.blobs_asked() == {str(BASE.digest): 1}


async def test_a_mirror_that_answers_with_no_manifest_is_passed_over(
    origin: Registry, mirror: Registry, tmp_path: Path
) -> None:
    async def page(request: web.Request) -> web.StreamResponse | None:
        wrong = "/manifests/" in request.path
        return web.Response(text="<html>log in</html>", content_type="text/html") if wrong else None

    mirror.fault = page
    report = await save(tmp_path, origin, f"{mirror.address}/cache")
    assert report.status == 0, report.failed
    assert origin.asked["/v2/team/app/manifests/1"] == 1


async def test_what_is_in_the_cache_is_named_by_a_mirror_alone(
    origin: Registry, mirror: Registry, tmp_path: Path
) -> None:
    archive: dict[str, Any] = {"format": "gzip", "destination": tmp_path / "out.tar.gz"}
    await save(tmp_path, origin, **archive)
    origin.asked.clear()
    methods: list[str] = []

    async def note(request: web.Request) -> web.StreamResponse | None:
        methods.extend([request.method] if "/manifests/" in request.path else [])
        return None

    mirror.fault = note
    report = await save(tmp_path, origin, "127.0.0.1:1", f"{mirror.address}/cache", **archive)
    assert report.status == 0, report.failed
    assert origin.asked == {}
    assert methods == ["HEAD"]

    # One that refuses a HEAD is asked by GET before the next one is asked at all.
    async def refuse(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=405) if request.method == "HEAD" else None

    mirror.fault = refuse
    report = await save(tmp_path, origin, f"{mirror.address}/cache", **archive)
    assert report.status == 0, report.failed
    assert origin.asked == {}


async def test_what_was_saved_is_compared_with_the_mirror(origin: Registry, mirror: Registry, tmp_path: Path) -> None:
    report = await save(tmp_path, origin, "127.0.0.1:1", f"{mirror.address}/cache", validate=True)
    assert report.status == 0, report.failed
    assert report.validated
    assert origin.asked == {}


async def test_what_the_mirror_has_no_more_is_compared_with_the_registry(
    origin: Registry, mirror: Registry, tmp_path: Path
) -> None:
    async def none_by_head(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=404) if request.method == "HEAD" else None

    mirror.fault = none_by_head
    report = await save(tmp_path, origin, f"{mirror.address}/cache", validate=True)
    assert report.status == 0, report.failed
    assert report.validated
    assert set(origin.asked) == {"/v2/", *(f"/v2/team/app/manifests/{one}" for one in ("1", *manifests()))}


def manifests() -> list[str]:
    return [str(digest) for digest in IMAGE.documents if digest != IMAGE.digest]


async def test_a_mirror_that_is_not_there_is_left_alone(origin: Registry, mirror: Registry, tmp_path: Path) -> None:
    report = await save(tmp_path, origin, "127.0.0.1:1", f"{mirror.address}/cache")
    assert report.status == 0, report.failed
    assert origin.asked == {}


async def test_the_registry_has_the_last_word(origin: Registry, mirror: Registry, tmp_path: Path) -> None:
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
