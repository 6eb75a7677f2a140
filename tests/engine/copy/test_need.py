"""The need of images: each digest counts once at a registry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hangar_async.engine.mirror import mirror
from hangar_async.engine.outcomes import Need
from hangar_async.engine.reports import MirrorReport
from hangar_async.testing.images import image, index, layer
from tests.engine.test_mirror import options
from tests.fakes.clock import FakeClock
from tests.fakes.images import AMD64, ARM64
from tests.fakes.registry import FakeRegistry, fake_registry

BASE = layer({"base": b"x" * 5000}, "none")
ONE, TWO = (image([BASE, layer({name: b"y" * 900}, "none")], AMD64) for name in ("one", "two"))


def size(built: Any) -> int:
    return sum(len(data) for data in built.blobs.values())


async def needs(source: FakeRegistry, target: FakeRegistry, *lines: str, **keywords: Any) -> list[Need]:
    """Plan the images one after the other, so that the first one comes first."""
    values: dict[str, Any] = {"dry_run": True, "needs": True, "jobs": 1, "referrers": "none", **keywords}
    values["requests"] = 1
    report: MirrorReport = await mirror(options(source, target, *lines, **values), clock=FakeClock().clock)
    assert [str(outcome.error) for outcome in report.failed] == []
    return [outcome.need or Need() for outcome in report.outcomes]


@asynccontextmanager
async def filled() -> AsyncIterator[FakeRegistry]:
    async with fake_registry(pushable=True) as registry:
        registry.add("one:1", ONE)
        registry.add("two:1", TWO)
        yield registry


async def test_a_blob_that_two_images_share_is_sent_once(pushable_registry: FakeRegistry) -> None:
    async with filled() as source:
        one, two = await needs(source, pushable_registry, "SOURCE/one:1", "SOURCE/two:1")
    shared = len(next(data for data in ONE.blobs.values() if data in TWO.blobs.values()))
    assert one.blobs + two.blobs == 5
    assert one.bytes + two.bytes == size(ONE) + size(TWO) - shared
    assert one.mounts + two.mounts == 1
    # Both tags, a manifest from one side to the other, and a GET, a POST and a PUT of each blob; one is a mount.
    assert one.requests + two.requests == 2 * (2 + 2) + 5 * 3 + 1
    assert not [request for request in pushable_registry.requests if request.method not in ("GET", "HEAD")]
    assert not pushable_registry.asked("/blobs/")


async def test_what_is_there_is_not_sent(pushable_registry: FakeRegistry) -> None:
    async with filled() as source:
        await mirror(options(source, pushable_registry, "SOURCE/one:1"), clock=FakeClock().clock)
        source.add("one:1", TWO)
        (need,) = await needs(source, pushable_registry, "SOURCE/one:1")
    shared = len(next(data for data in ONE.blobs.values() if data in TWO.blobs.values()))
    assert need == Need(2, size(TWO) - shared, 0, 4 + 2 * 4 + 1)


async def test_two_tags_of_an_image_and_another_repository_of_the_same_registry(
    pushable_registry: FakeRegistry,
) -> None:
    async with filled() as source:
        source.add("one:2", ONE)
        first, second = await needs(source, pushable_registry, "SOURCE/one:1", "SOURCE/one:2")
        assert {first, second} == {Need(3, size(ONE), 0, 4 + 3 * 3), Need(requests=4)}
        (within,) = await needs(source, source, "SOURCE/one:1")
    assert within == Need(mounts=3, requests=4 + 3)


async def test_the_documents_of_an_index_count(pushable_registry: FakeRegistry) -> None:
    async with fake_registry() as source:
        source.add("app:1", index([ONE, image([BASE], ARM64)]))
        (need,) = await needs(source, pushable_registry, "SOURCE/app:1")
    assert (need.blobs, need.requests) == (4, 2 + 2 * 3 + 3 * 4)


async def test_without_the_option_nothing_more_is_asked(pushable_registry: FakeRegistry) -> None:
    async with filled() as source:
        keywords: dict[str, Any] = {"dry_run": True, "referrers": "none"}
        report = await mirror(options(source, pushable_registry, "SOURCE/one:1", **keywords), clock=FakeClock().clock)
    assert report.outcomes[0].need is None
    assert not pushable_registry.asked("/tags/")
