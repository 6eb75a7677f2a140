"""The workers of a cluster move the bytes, and the coordinator tells what they do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.engine.events import BlobEnded, Event
from hangar_async.engine.mirror import mirror
from tests.engine.cluster.rig import copy_and_kill
from tests.engine.test_mirror import BIG, SETTINGS, options
from tests.fakes.faults import Hold
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry

pytest.importorskip("distributed")

import cloudpickle


async def test_workers_move_the_bytes_and_one_place_tells(
    cluster: Any, fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    names = [f"app{number}" for number in range(6)]
    for name in names:
        fake_registry.add(f"{name}:1", small(name, BIG))
    lines = [f"SOURCE/{name}:1" for name in names]
    events: list[Event] = []
    settings = options(fake_registry, pushable_registry, *lines, cluster=cluster.scheduler_address)
    report = await mirror(settings, events.append)
    assert [str(outcome.error) for outcome in report.failed] == []
    uploads = [one.query["digest"] for one in pushable_registry.asked("/blobs/uploads/", "PUT")]
    assert len(set(uploads)) == len(uploads)
    sent = report.sent
    assert (sent.uploaded_blobs, sent.mounted_blobs) == (len(uploads), 5)
    assert sent.uploaded_bytes == sum(event.size for event in events if isinstance(event, BlobEnded) and event.ok)
    assert sum(outcome.transferred for outcome in report.outcomes) == sent.uploaded_bytes
    assert all(outcome.seconds > 0 and outcome.size for outcome in report.outcomes)


async def test_a_worker_that_is_killed_is_replaced_by_others(
    cluster: Any, fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    await copy_and_kill(cluster, fake_registry, pushable_registry, moment=3)


async def test_no_login_is_in_tasks_or_in_what_the_scheduler_knows(
    cluster: Any, fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    secret = "coordinators-own"
    hold = Hold(asyncio.Event())
    fake_registry.add("app:1", small("app"))
    fake_registry.fail("/blobs/", hold, times=None)
    logins = replace(SETTINGS, username=secret, password=secret)
    environment = Environment(registries=logins, destinations=logins, variables={"DEST_PASSWORD": secret})
    keywords: dict[str, Any] = {"cluster": cluster.scheduler_address, "environment": environment}
    settings = options(fake_registry, pushable_registry, "SOURCE/app:1", **keywords)
    run = asyncio.create_task(mirror(settings))
    await asyncio.wait([run, asyncio.create_task(hold.reached.wait())], return_when=asyncio.FIRST_COMPLETED)
    scheduler = cluster.scheduler
    state = [task.run_spec for task in scheduler.tasks.values()]
    assert state
    plugins = [plugin for name, plugin in scheduler.worker_plugins.items() if name.startswith("hangar")]
    events = [str(scheduler.get_events(topic)) for topic in ("all", "stealing")]
    seen = b"".join(cloudpickle.dumps(one) for one in (*state, *plugins, *events))
    hold.until.set()
    assert (await run).status == 0
    assert len(plugins) == 1
    assert b"app" in seen
    assert secret.encode() not in seen


async def test_a_cancelled_run_stops_its_workers(
    cluster: Any, fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    hold = Hold(asyncio.Event())
    fake_registry.add("app:1", small("app"))
    fake_registry.fail("/blobs/", hold, times=None)
    run = asyncio.create_task(
        mirror(options(fake_registry, pushable_registry, "SOURCE/app:1", cluster=cluster.scheduler_address))
    )
    await asyncio.wait([run, asyncio.create_task(hold.reached.wait())], return_when=asyncio.FIRST_COMPLETED)
    run.cancel()
    await asyncio.wait([run])
    assert run.cancelled()
    # Nothing waits for an answer any more, although none was given.
    assert fake_registry.active == 0
    assert not [name for name in cluster.scheduler.worker_plugins if name.startswith("hangar")]
