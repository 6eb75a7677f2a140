"""A mirror on a cluster brings what one without a cluster brings."""

from __future__ import annotations

import pytest

from hangar_async.engine.mirror import mirror
from hangar_async.errors import NetworkError
from tests.engine.loading import tagged
from tests.engine.test_mirror import options
from tests.fakes.images import library
from tests.fakes.registry import FakeRegistry

pytest.importorskip("distributed")


async def test_every_kind_of_image_arrives_by_a_local_cluster(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    kinds = library()
    for name, built in kinds.items():
        fake_registry.add(f"{name}:1", built)
    lines = [f"SOURCE/{name}:1" for name in kinds]
    report = await mirror(options(fake_registry, pushable_registry, *lines, cluster="local"))
    assert [str(outcome.error) for outcome in report.failed] == []
    for name, built in kinds.items():
        assert await tagged(pushable_registry.content, f"copies/{name}:1") == built.digest, name
        for digest in (*built.documents, *built.blobs):
            content = pushable_registry.content
            there = await content.resolve(f"copies/{name}", digest) or await content.size(f"copies/{name}", digest)
            assert there is not None, f"{name}: {digest}"
    uploads = [one.query["digest"] for one in pushable_registry.asked("/blobs/uploads/", "PUT")]
    assert len(set(uploads)) == len(uploads)


async def test_a_scheduler_that_is_not_there_is_told(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    import dask

    address = "tcp://127.0.0.1:9"
    settings = options(fake_registry, pushable_registry, "SOURCE/app:1", cluster=address)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "10 ms"}),
        pytest.raises(NetworkError, match=f"there is no scheduler at {address}") as error,
    ):
        await mirror(settings)
    assert "dask scheduler" in error.value.advice
