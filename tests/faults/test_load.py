"""Faults during a push: at the registry, and in the source."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.errors import (
    ArchiveError,
    ContentError,
    DigestMismatch,
    NetworkError,
    RegistryError,
    StorageError,
    Unauthorized,
)
from hangar_async.layout.files import blob_name
from tests.engine.forms import pack_as_hangar
from tests.fakes.faults import Close, CutBody, Hold, Lost, Status
from tests.fakes.registry import fake_registry
from tests.faults.load_rig import BAD, BIG, GOOD, RETRIES, TAG, UPLOADS, Scene


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_an_upload_that_breaks_goes_on(scene: Scene, reset: bool) -> None:
    """From the byte that the registry says to have; the tag comes after it."""
    scene.registry.fail(UPLOADS, CutBody(1_000_000, reset), method="PUT")
    await scene.load()
    await scene.check(None)
    assert scene.registry.pushes is not None
    assert scene.registry.asked(UPLOADS, "GET")
    assert sum(scene.registry.pushes.received) < len(BIG.data) * 1.5


async def test_an_upload_that_breaks_more_often_than_there_are_tries(scene: Scene) -> None:
    scene.registry.fail(UPLOADS, CutBody(600_000), method="PUT")
    scene.registry.fail(UPLOADS, CutBody(400_000), method="PATCH", times=RETRIES + 2)
    await scene.load()
    await scene.check(None)


async def test_a_registry_that_takes_nothing_of_an_image(scene: Scene) -> None:
    scene.registry.fail(UPLOADS, Close(), times=None)
    await scene.load()
    await scene.check(NetworkError)
    scene.registry.faults.rules.clear()
    await scene.load()
    await scene.check(None)


async def test_a_mount_that_is_answered_with_an_upload(scene: Scene) -> None:
    assert scene.registry.pushes is not None
    scene.registry.pushes.mounts = False
    await scene.load()
    await scene.check(None)
    for digest, data in (*BAD.blobs.items(), *GOOD.blobs.items()):
        repository = "library/bad" if digest in BAD.blobs else "library/good"
        assert await scene.registry.content.size(repository, digest) == len(data)


async def test_a_body_that_is_too_large_goes_in_pieces(scene: Scene) -> None:
    assert scene.registry.pushes is not None
    scene.registry.pushes.largest = 800_000
    await scene.load()
    await scene.check(None)
    assert max(scene.registry.pushes.received) <= 800_000


async def test_a_rate_limit_on_manifests_is_waited_for(scene: Scene) -> None:
    scene.registry.fail("/manifests/", Status(429, {"Retry-After": "7"}), method="PUT", times=RETRIES + 2)
    await scene.load()
    await scene.check(None)
    assert scene.pauses()
    assert set(scene.pauses()) == {7.0}


async def test_an_answer_that_got_lost(scene: Scene) -> None:
    """The tag was put, but that was not heard: it is put once more, and is the same."""
    scene.registry.fail(TAG, Lost(), method="PUT")
    scene.registry.fail(UPLOADS, Lost(), method="PUT")
    await scene.load()
    await scene.check(None)


async def test_immutable_tags(scene: Scene) -> None:
    """One that is equal is a success; one that is not fails, and says what to do."""
    assert scene.registry.pushes is not None
    scene.registry.pushes.immutable = {"1"}
    await scene.load()
    await scene.load()
    await scene.check(None)
    assert {outcome.state for outcome in scene.report.outcomes} == {"present"}  # type: ignore[union-attr]
    scene.registry.content.remove("library/bad", BAD.digest)
    scene.registry.add("library/bad:1", GOOD)
    await scene.load()
    failed = scene.report.failed[0]  # type: ignore[union-attr]
    assert isinstance(failed.error, RegistryError)
    assert "immutable" in failed.error.advice


async def test_a_project_that_may_not_be_pushed_to(scene: Scene) -> None:
    scene.registry.fail(UPLOADS, Status(403), times=None)
    await scene.load()
    bad = await scene.check(Unauthorized)
    assert bad.error is not None


async def test_nothing_is_a_registry_there(indexed_scene: Scene) -> None:
    """Then no image is tried."""
    indexed_scene.registry.fail("", Status(404), times=None)
    with pytest.raises(RegistryError, match="is no registry"):
        await indexed_scene.load()


async def test_a_registry_that_goes_away_and_comes_back(both: Path, tmp_path: Path) -> None:
    """In the middle of an upload, without a word of what it had; all is there in the end."""
    async with fake_registry(pushable=True) as registry:
        scene = Scene(registry, both / "all.tar.gz", tmp_path)
        port = int(registry.address.rpartition(":")[2])
        reached = asyncio.Event()
        registry.fail(UPLOADS, Hold(asyncio.Event(), reached), method="PUT")
        loading = asyncio.create_task(scene.load())
        await reached.wait()
    async with fake_registry(registry.content, pushable=True, port=port) as registry:
        scene.registry = registry
        await loading
        await scene.check(None)


async def test_a_load_that_is_cancelled(scene: Scene) -> None:
    """Nothing is left on the disk, and the registry is told that the upload will not be finished."""
    assert scene.registry.pushes is not None
    until, reached = asyncio.Event(), asyncio.Event()
    scene.registry.fail(UPLOADS, Hold(until, reached), method="PUT")
    loading = asyncio.create_task(scene.load(jobs=1))
    await reached.wait()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert not list(scene.place.iterdir())
    assert scene.registry.asked(UPLOADS, "DELETE")
    assert scene.registry.pushes.sessions == {}
    until.set()
    async with asyncio.timeout(30):
        while scene.registry.active:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
    await scene.load()
    await scene.check(None)


def damage(source: Path) -> None:
    """Flip a bit in the middle of the big layer, wherever it lies."""
    if source.is_dir():
        path, offset = source / blob_name(BIG.digest), len(BIG.data) // 2
    else:
        path, offset = source, source.stat().st_size // 2
    flip(path, offset)


def flip(path: Path, offset: int) -> None:
    """Flip a bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


async def test_a_damaged_blob_of_the_source_is_reported_as_damaged_here(own_scene: Scene) -> None:
    """It is found by the registry, and looked for here; no image names it there, and others are pushed."""
    damage(own_scene.source)
    await own_scene.load()
    bad = await own_scene.check(DigestMismatch)
    assert "damaged" in str(bad.error)


@pytest.mark.parametrize("own_scene", ["directory"], indirect=True)
async def test_a_blob_that_is_gone(own_scene: Scene) -> None:
    """From a directory, between finding it and reading it."""
    own_scene.registry.fail("/v2/$", Once((own_scene.source / blob_name(BIG.digest)).unlink))
    await own_scene.load()
    await own_scene.check(StorageError)


@pytest.mark.parametrize("own_scene", ["index"], indirect=True)
async def test_an_archive_that_is_cut_off_meanwhile(own_scene: Scene) -> None:
    own_scene.registry.fail("/v2/$", Once(lambda: os.truncate(own_scene.source, own_scene.source.stat().st_size // 3)))
    report = await own_scene.load()
    assert report.status == 1
    assert all(isinstance(outcome.error, ArchiveError) for outcome in report.failed)


_WRONG = Status(400, {"Content-Type": "application/json"}, b'{"errors": [{"code": "DIGEST_INVALID"}]}')


async def test_a_registry_that_finds_a_digest_wrong_that_is_right(scene: Scene) -> None:
    """Nothing here is accused of it."""
    scene.registry.fail(UPLOADS, _WRONG, method="PUT", times=None)
    await scene.load()
    bad = await scene.check(DigestMismatch)
    assert "damaged" not in str(bad.error)


@pytest.mark.parametrize("own_scene", ["directory"], indirect=True)
async def test_a_blob_that_is_gone_when_it_is_looked_at_for_damage(own_scene: Scene) -> None:
    path = own_scene.source / blob_name(BIG.digest)

    async def lose(request: web.Request, handler: Handler) -> web.StreamResponse:
        async for _ in request.content.iter_any():
            pass
        path.unlink()
        return await _WRONG(request, handler)

    # A wrong digest is tried twice before it is believed.
    own_scene.registry.fail(f"{UPLOADS}.*{BIG.digest.hex}", _WRONG, method="PUT")
    own_scene.registry.fail(f"{UPLOADS}.*{BIG.digest.hex}", lose, method="PUT")
    await own_scene.load()
    bad = await own_scene.check(DigestMismatch)
    assert f"{path}: No such file" in str(bad.error)


async def test_a_damaged_archive_without_index_fails_its_images(streamed_scene: Scene) -> None:
    cache = streamed_scene.source.parent.parent / "cache"
    flip(cache / blob_name(BIG.digest), len(BIG.data) // 2)
    pack_as_hangar(cache, streamed_scene.source)
    await streamed_scene.load()
    bad = await streamed_scene.check(ContentError)
    assert str(bad.error) == f"{BIG.digest} is damaged here"


async def test_an_archive_without_index_that_is_cut_off_meanwhile(streamed_scene: Scene) -> None:
    pack_as_hangar(streamed_scene.source.parent.parent / "cache", streamed_scene.source)
    streamed_scene.registry.fail(
        "/v2/$", Once(lambda: os.truncate(streamed_scene.source, streamed_scene.source.stat().st_size // 3))
    )
    report = await streamed_scene.load()
    assert report.status == 1
    assert report.failed
    assert all(isinstance(outcome.error, ArchiveError) for outcome in report.failed)
    assert not list(streamed_scene.place.glob(".load.*"))


async def test_whether_it_is_there_may_not_be_asked(scene: Scene) -> None:
    scene.registry.fail("/library/bad/blobs/sha256", Status(403), method="HEAD", times=None)
    await scene.load()
    await scene.check(Unauthorized)


class Once:
    """Does something when it is asked, and lets the registry answer."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._do()
        return await handler(request)
