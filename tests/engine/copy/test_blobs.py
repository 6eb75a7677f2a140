"""Blobs of registries are read to their end, whatever breaks off."""

from __future__ import annotations

import random
from contextlib import aclosing
from typing import Any

import pytest

from hangar_async.errors import DigestMismatch, NetworkError, NotFound, RegistryError
from hangar_async.oci import Descriptor, Reference
from hangar_async.testing.images import image, layer
from tests.engine.copy.rig import POLICY, open_source
from tests.fakes.faults import Close, Cut, Status
from tests.fakes.images import AMD64
from tests.fakes.registry import FakeRegistry

DATA = layer({"big": random.Random(1).randbytes(900_000)}, "none")
BLOB = Descriptor("application/vnd.oci.image.layer.v1.tar", DATA.digest, len(DATA.data))


def named(registry: FakeRegistry, *names: str) -> list[Reference]:
    """Put an image with the blob into repositories."""
    for name in names:
        registry.add(f"{name}:1", image([DATA], AMD64))
    return [Reference.parse(f"{registry.address}/{name}:1") for name in names]


@pytest.mark.parametrize("start", [0, 1, 300_000, len(DATA.data) - 1])
@pytest.mark.parametrize("after", [0, 1, 400_000, len(DATA.data) - 2])
async def test_a_source_that_breaks_off_is_asked_for_the_rest(
    fake_registry: FakeRegistry, start: int, after: int
) -> None:
    async with open_source() as source:
        source.blobs.offer([BLOB], named(fake_registry, "app")[0])
        fake_registry.fail("/blobs/", Cut(after), method="GET")
        assert await source.read(BLOB, start) == DATA.data[start:]


async def test_a_source_that_breaks_off_at_each_byte_makes_no_progress(fake_registry: FakeRegistry) -> None:
    async with open_source() as source:
        source.blobs.offer([BLOB], named(fake_registry, "app")[0])
        fake_registry.fail("/blobs/", Cut(1), method="GET", times=None)
        with pytest.raises(NetworkError):
            await source.read(BLOB)
        assert len(fake_registry.asked("/blobs/", "GET")) == POLICY.retries + 1


async def test_a_source_without_ranges_begins_again(fake_registry: FakeRegistry) -> None:
    async with open_source() as source:
        source.blobs.offer([BLOB], named(fake_registry, "app")[0])
        fake_registry.fail("/blobs/", Cut(400_000), method="GET")
        fake_registry.fail("/blobs/", Status(416), method="GET", ranged=True, times=None)
        assert await source.read(BLOB) == DATA.data


async def test_a_source_that_stays_away_fails_within_the_patience_of_the_target(fake_registry: FakeRegistry) -> None:
    async with open_source() as source:
        source.blobs.offer([BLOB], named(fake_registry, "app")[0])
        fake_registry.fail("/blobs/", Close(), method="GET", times=None)
        with pytest.raises(NetworkError):
            await source.read(BLOB)
        assert 0 < sum(source.time.waits) <= 30


@pytest.mark.parametrize("status", [403, 404])
async def test_another_repository_gives_what_the_first_one_lacks(fake_registry: FakeRegistry, status: int) -> None:
    async with open_source() as source:
        for one in named(fake_registry, "first", "second"):
            source.blobs.offer([BLOB], one)
        fake_registry.fail("/first/blobs/", Status(status), method="GET", times=None)
        assert source.blobs.host(BLOB) == fake_registry.address
        assert await source.read(BLOB) == DATA.data
        assert source.blobs.gone([BLOB]) == {}


async def test_a_blob_that_no_source_has_is_gone(fake_registry: FakeRegistry) -> None:
    async with open_source() as source:
        source.blobs.offer([BLOB], named(fake_registry, "app")[0])
        fake_registry.fail("/blobs/", Status(404), method="GET", times=None)
        for _ in range(2):
            with pytest.raises(NotFound):
                await source.read(BLOB)
        assert list(source.blobs.gone([BLOB])) == [BLOB.digest]
        assert len(fake_registry.asked("/blobs/", "GET")) == 1
        # An image that is planned later may name another repository.
        source.blobs.offer([BLOB], named(fake_registry, "other")[0])
        fake_registry.faults.rules.clear()
        assert await source.read(BLOB) == DATA.data


async def test_an_overloaded_source_is_for_the_queue(fake_registry: FakeRegistry) -> None:
    async with open_source() as source:
        source.blobs.offer([BLOB], named(fake_registry, "app")[0])
        fake_registry.fail("/blobs/", Status(429), method="GET")
        with pytest.raises(RegistryError) as caught:
            await source.read(BLOB)
        assert caught.value.transient
        assert await source.read(BLOB) == DATA.data


class Other:
    """Gives other bytes of the same number."""

    async def __call__(self, request: Any, handler: Any) -> Any:
        from aiohttp import web

        return web.Response(body=bytes(len(DATA.data)))


@pytest.mark.parametrize("start", [0, 500_000])
async def test_wrong_bytes_are_never_given_whole_where_they_are_hashed(fake_registry: FakeRegistry, start: int) -> None:
    async with open_source(verify=True) as source:
        source.blobs.offer([BLOB], named(fake_registry, "app")[0])
        assert await source.read(BLOB, start) == DATA.data[start:]
        fake_registry.fail("/blobs/", Other(), method="GET", times=None)
        given = 0
        with pytest.raises(DigestMismatch):
            async with aclosing(source.blobs.read(BLOB, start)) as pieces:
                async for piece in pieces:
                    given += len(piece)
        assert given < len(DATA.data) - start


async def test_the_damage_at_a_source_is_named(fake_registry: FakeRegistry) -> None:
    async with open_source() as source:
        [image_name] = named(fake_registry, "app")
        source.blobs.offer([BLOB], image_name)
        assert await source.blobs.damage(BLOB) == ""
        fake_registry.fail("/blobs/", Other(), method="GET", times=None)
        assert f"of {image_name.name}" in await source.blobs.damage(BLOB)


@pytest.mark.parametrize("after", [10, 400_000])
async def test_a_source_that_breaks_off_each_time_is_given_up(fake_registry: FakeRegistry, after: int) -> None:
    """Each try begins again, so that none of them gains anything."""
    async with open_source() as source:
        [image_name] = named(fake_registry, "app")
        source.blobs.offer([BLOB], image_name)
        fake_registry.fail("/blobs/", Cut(after), method="GET", times=None)
        with pytest.raises(NetworkError):
            await source.blobs.damage(BLOB)
        assert len(fake_registry.asked("/blobs/", "GET")) == POLICY.retries + 1
