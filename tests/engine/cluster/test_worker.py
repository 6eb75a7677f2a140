"""A worker does tasks in its own clients, with its own logins, and ends what is not needed any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from hangar_async import __version__
from hangar_async.config.environment import Environment
from hangar_async.config.registries import NO_MIRRORS
from hangar_async.engine.cluster.messages import Beat, BlobTask, ImageResult, Taken, WorkerSettings, decode, encode
from hangar_async.engine.copy.sides import Registries
from hangar_async.engine.events import BlobEnded
from hangar_async.oci import Descriptor, Reference
from hangar_async.testing.images import Built
from tests.engine.test_mirror import RETRY, options
from tests.fakes.auth import Basic
from tests.fakes.clock import turns_until
from tests.fakes.faults import Hold
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry

pytest.importorskip("distributed")

from distributed import Reschedule

from hangar_async.engine.cluster import worker as module
from hangar_async.engine.cluster.worker import MirrorWorker

APP = small("app")
KEY = ("blob", "registry", "digest", "run")


@asynccontextmanager
async def at_work(
    source: FakeRegistry, target: FakeRegistry, release: str = __version__
) -> AsyncIterator[MirrorWorker]:
    """The plugin of a run between two registries, at a worker of 8 tasks."""
    source.add("app:1", APP)
    settings = WorkerSettings(
        release=release,
        options=options(source, target, environment=Environment()),
        registries=Registries(frozenset({source.address}), frozenset({target.address})),
        images=9,
        retry=RETRY,
        stall_timeout=20.0,
        tls_verify=True,
        mirrors=NO_MIRRORS,
    )
    plugin, worker = MirrorWorker("run", encode(settings)), SimpleNamespace(state=SimpleNamespace(nthreads=8))
    await plugin.setup(worker)
    try:
        yield plugin
    finally:
        await plugin.teardown(worker)


def task_of(source: FakeRegistry, target: FakeRegistry, built: Built = APP) -> BlobTask:
    digest, data = next(iter(built.blobs.items()))
    blob = Descriptor("application/octet-stream", digest, len(data))
    images = [Reference(one.address, "app", "1") for one in (source, target)]
    return BlobTask(KEY, images[0], images[1], 4, blob, is_new=False)


async def test_a_blob_is_brought_and_told(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> None:
    async with at_work(fake_registry, pushable_registry) as plugin:
        task = task_of(fake_registry, pushable_registry)
        assert await plugin.carry_out(encode(task), ()) == ("app", True)
        taken = plugin.beat(Beat({}, None)).taken
        assert taken.sent[pushable_registry.address].uploaded_bytes == task.blob.size
        assert taken.usage[4][1] == task.blob.size
        assert [event.ok for event in taken.events if isinstance(event, BlobEnded)] == [True]
        empty = plugin.take()
        assert (empty.events, empty.usage, empty.sent[pushable_registry.address].uploaded_blobs) == ((), {}, 0)


async def test_a_blob_that_fails_is_left_to_its_images(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    async with at_work(fake_registry, pushable_registry) as plugin:
        task = task_of(fake_registry, pushable_registry, small("other"))
        assert await plugin.carry_out(encode(task), ()) is None


async def test_another_release_is_refused(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> None:
    async with at_work(fake_registry, pushable_registry, release="0.0.1") as plugin:
        reply = plugin.beat(Beat({}, None))
    assert reply.refusal == f"it has release {__version__}, and the coordinator 0.0.1"
    assert (reply.threads, plugin.sides) == (8, None)


async def test_a_task_that_is_not_needed_any_more_ends(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    """The scheduler forgets the tasks of a coordinator that has died; dask lets their coroutines go on."""
    hold = Hold(asyncio.Event())
    fake_registry.fail("/blobs/", hold, times=None)
    async with at_work(fake_registry, pushable_registry) as plugin:
        task = asyncio.create_task(plugin.carry_out(encode(task_of(fake_registry, pushable_registry)), ()))
        await hold.reached.wait()
        plugin.transition(KEY, "executing", "released")
        with pytest.raises(RuntimeError, match="ended"):
            await task
        await turns_until(lambda: not fake_registry.active)
        second = asyncio.create_task(plugin.carry_out(encode(task_of(fake_registry, pushable_registry)), ()))
        await turns_until(lambda: fake_registry.active > 0)
        await plugin.stop()
        assert (await asyncio.gather(second, return_exceptions=True))[0].args == ("the task was ended",)


async def test_a_cancelled_task_ends_with_its_work(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work(_: BlobTask) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _turn in range(5):
                await asyncio.sleep(0)
            ended.set()

    async with at_work(fake_registry, pushable_registry) as plugin:
        monkeypatch.setattr(plugin, "_blob", work)
        task = asyncio.create_task(plugin.carry_out(encode(task_of(fake_registry, pushable_registry)), ()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()


async def test_a_host_that_has_refused_another_worker_is_left_alone(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    async with at_work(fake_registry, pushable_registry) as plugin:
        assert plugin.sides is not None
        host = plugin.sides.hosts.host(fake_registry.address)
        assert host.is_open
        plugin.beat(Beat({fake_registry.address: (30.0, "too many")}, 500))
        assert not host.is_open
        assert (plugin.sides.rate.rate, host.closed_for is not None) == (500, True)


async def test_logins_are_those_of_the_worker(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushable_registry.auth = Basic({"worker": "its own"})
    async with at_work(fake_registry, pushable_registry) as plugin:
        assert await plugin.carry_out(encode(task_of(fake_registry, pushable_registry)), ()) is None
    monkeypatch.setenv("DEST_USERNAME", "worker")
    monkeypatch.setenv("DEST_PASSWORD", "its own")
    async with at_work(fake_registry, pushable_registry) as plugin:
        assert await plugin.carry_out(encode(task_of(fake_registry, pushable_registry)), ()) == ("app", True)


async def test_a_worker_without_the_settings_gives_a_task_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has just joined the cluster, or is of another release and leaves it."""
    worker: Any = SimpleNamespace(plugins={}, state=SimpleNamespace(nthreads=8))
    monkeypatch.setattr(module, "get_worker", lambda: worker)
    monkeypatch.setattr(module, "_ELSEWHERE", 0.0)
    with pytest.raises(Reschedule):
        await module.carry_out("run", b"", ())
    assert decode(await module.beat("run", b"", worker)).refusal == ""
    assert decode(await module.stop("run", worker)).taken.events == ()


def test_a_result_says_who_has_the_blobs() -> None:
    result = ImageResult(None, None, (("app", True), None), Taken())
    assert decode(encode(result)) == result
