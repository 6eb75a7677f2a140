"""Documents are asked for once at a time, and the last ones are kept."""

from __future__ import annotations

import pytest

from hangar_async.engine.copy import documents
from hangar_async.errors import DigestMismatch, NetworkError, NotFound
from hangar_async.oci import Descriptor, Manifest, Reference
from hangar_async.tasks import each
from hangar_async.testing.images import index
from tests.engine.copy.rig import POLICY, open_source
from tests.fakes.faults import Cut, Status
from tests.fakes.images import ARM64, small
from tests.fakes.registry import FakeRegistry

RANK = (0, 0)
PAIR = index([small("amd"), small("arm", platform=ARM64)])


def name(registry: FakeRegistry, repository: str = "app") -> Reference:
    registry.add(f"{repository}:1", PAIR)
    return Reference.parse(f"{registry.address}/{repository}:1")


async def test_a_document_that_several_want_is_got_once(fake_registry: FakeRegistry) -> None:
    image = name(fake_registry)
    async with open_source() as source:
        head = await source.documents.head(image, RANK)
        assert head is not None
        assert head.digest == PAIR.digest

        async def get(_: int) -> object:
            return await source.documents.root(image, RANK, head)

        assert len(set(map(id, await each(range(5), get, 5)))) == 1
        # Another image of the same digest needs no request either.
        await source.documents.root(name(fake_registry, "other"), RANK, head)
    assert len(fake_registry.asked("/manifests/", "GET")) == 1


async def test_few_are_kept(fake_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    image = name(fake_registry)
    monkeypatch.setattr(documents, "_KEPT", 1)
    async with open_source() as source:
        for _ in range(2):
            assert (await source.documents.root(image, RANK)).digest == PAIR.digest
            head = await source.documents.head(image, RANK)
            await source.documents.root(image, RANK, head)
    assert len(fake_registry.asked("/manifests/", "GET")) == 4


async def test_what_is_not_there(fake_registry: FakeRegistry) -> None:
    async with open_source() as source:
        image = Reference.parse(f"{fake_registry.address}/none:1")
        assert await source.documents.head(image, RANK) is None
        with pytest.raises(NotFound):
            await source.documents.root(image, RANK)


async def test_a_config_is_checked(fake_registry: FakeRegistry) -> None:
    fake_registry.add("one:1", small("one"))
    image = Reference.parse(f"{fake_registry.address}/one:1")
    async with open_source() as source:
        root = await source.documents.root(image, RANK)
        assert isinstance(root, Manifest)
        assert (await source.documents.config(root.config, image, RANK)).platform.architecture == "amd64"
        fake_registry.fail("/blobs/", Status(200, body=b"x" * root.config.size), method="GET", times=None)
        wrong = Descriptor(root.config.media_type, root.config.digest, root.config.size)
        with pytest.raises(DigestMismatch):
            await source.documents.config(wrong, image, RANK)


async def test_a_config_that_breaks_off_each_time_is_given_up(fake_registry: FakeRegistry) -> None:
    fake_registry.add("one:1", small("one"))
    image = Reference.parse(f"{fake_registry.address}/one:1")
    async with open_source() as source:
        root = await source.documents.root(image, RANK)
        assert isinstance(root, Manifest)
        fake_registry.fail("/blobs/", Cut(10), method="GET", times=None)
        with pytest.raises(NetworkError):
            await source.documents.config(root.config, image, RANK)
    assert len(fake_registry.asked("/blobs/", "GET")) == POLICY.retries + 1
