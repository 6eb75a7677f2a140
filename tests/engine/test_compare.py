"""An image is the same where its tag names it, or an index that has all of it, and each manifest below is there."""

from __future__ import annotations

import pytest

from hangar_async.config.jobs import JobLimits
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.engine.compare import Comparer
from hangar_async.engine.events import ignore
from hangar_async.engine.limits.client import LimitedClient, Retrier
from hangar_async.errors import Differs
from hangar_async.oci import Image, Reference, parse_manifest
from hangar_async.registry.client import RegistryClient
from hangar_async.testing.images import Built, index
from tests.fakes.images import ARM64, small
from tests.fakes.registry import FakeRegistry

AMD, ARM, OTHER = small("amd"), small("arm", platform=ARM64), small("other")
BOTH = index([AMD, ARM])


async def compare(registry: FakeRegistry, built: Built) -> str:
    """Compare an image with `app:1` of a registry, and return the differences, "" for none."""
    documents = {digest: parse_manifest(raw, kind) for digest, (kind, raw) in built.documents.items()}
    target = Reference.parse(f"{registry.address}/app:1")
    image = Image(target, built.descriptor, (), documents=documents)
    async with RegistryClient(RegistrySettings()) as client:
        comparer = Comparer(LimitedClient(client, Retrier(JobLimits(1, 6, 6), RetryPolicy(), ignore)))
        try:
            await comparer.compare(image, target, 0)
        except Differs as error:
            return str(error)
    return ""


@pytest.mark.parametrize(
    ("there", "here", "difference"),
    [
        (BOTH, BOTH, ""),
        (AMD, AMD, ""),
        (index([AMD, ARM, OTHER]), BOTH, ""),
        (index([AMD, OTHER]), BOTH, "there it is"),
        (OTHER, AMD, f"there it is {OTHER.digest}, here {AMD.digest}"),
        (None, AMD, "it is not there"),
    ],
)
async def test_what_a_tag_names(fake_registry: FakeRegistry, there: Built | None, here: Built, difference: str) -> None:
    fake_registry.add("app", BOTH)
    if there is not None:
        fake_registry.add("app:1", there)
    found = await compare(fake_registry, here)
    assert found.startswith(difference)
    assert bool(found) == bool(difference)


async def test_an_image_of_which_nothing_is_there_is_told_in_short(fake_registry: FakeRegistry) -> None:
    fake_registry.add("app", OTHER)
    assert await compare(fake_registry, BOTH) == "it is not there"


async def test_a_manifest_below_that_is_not_there(fake_registry: FakeRegistry) -> None:
    fake_registry.add("app:1", BOTH)
    fake_registry.content.remove("app", ARM.digest)
    assert await compare(fake_registry, BOTH) == f"linux/arm64/v8, manifest {ARM.digest}, is not there"
