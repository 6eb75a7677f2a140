"""Tags come page by page, and an image tells when it was created."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hangar_async.engine.copy import listing
from hangar_async.engine.copy.listing import all_tags, created
from hangar_async.errors import ContentError
from hangar_async.oci import MAX_DEPTH, Reference
from hangar_async.registry import lists
from hangar_async.testing.images import index
from tests.engine.copy.rig import open_source
from tests.fakes.images import ARM64, small
from tests.fakes.registry import FakeRegistry

RANK = (0, 0)


def fill(registry: FakeRegistry, count: int) -> Reference:
    built = small("app")
    for number in range(count):
        registry.add(f"app:v{number}", built)
    return Reference(registry.address, "app", "v0")


async def test_all_pages_are_listed(fake_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "PAGE_TAGS", 2)
    image = fill(fake_registry, 5)
    async with open_source() as source:
        assert await all_tags(source.client, image, RANK) == [f"v{number}" for number in range(5)]
        assert len(fake_registry.asked("/tags/list")) == 3
        assert await all_tags(source.client, Reference(image.registry, "none"), RANK) is None


async def test_tags_have_a_largest_number(fake_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_MOST_TAGS", 3)
    image = fill(fake_registry, 5)
    async with open_source() as source:
        with pytest.raises(ContentError, match="are more than 3"):
            await all_tags(source.client, image, RANK)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-05-01T10:00:00.123456789Z", datetime(2024, 5, 1, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2024-05-01T10:00:00", datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ("1980-01-01T00:00:01Z", None),
        ("yesterday", None),
    ],
)
async def test_the_time_of_an_image_is_that_of_its_first_platform(
    fake_registry: FakeRegistry, text: str, time: datetime | None
) -> None:
    fake_registry.add("app:1", index([small("amd", created=text), small("arm", platform=ARM64)]))
    fake_registry.add("app:none", index([]))
    async with open_source() as source:
        assert await created(source.documents, Reference(fake_registry.address, "app", "1"), RANK) == time
        assert await created(source.documents, Reference(fake_registry.address, "app", "none"), RANK) is None


async def test_an_index_within_too_many_others_has_no_time(fake_registry: FakeRegistry) -> None:
    nested = small("deep", created="2024-05-01T10:00:00Z")
    for _ in range(MAX_DEPTH + 1):
        nested = index([nested])
    fake_registry.add("app:1", nested)
    async with open_source() as source:
        assert await created(source.documents, Reference(fake_registry.address, "app", "1"), RANK) is None
    assert len(fake_registry.asked("/manifests/", "GET")) == MAX_DEPTH + 1
