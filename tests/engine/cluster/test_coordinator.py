"""The workers of a cluster move the bytes, and the coordinator tells what they do."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.gates import Gate
from hangar_async.engine.events import BlobEnded, Event
from hangar_async.engine.mirror import mirror
from hangar_async.errors import NotAdmitted
from hangar_async.testing.images import Built
from tests.engine.cluster.rig import copy_and_kill, fill
from tests.engine.loading import tagged
from tests.engine.test_mirror import BIG, SETTINGS, options
from tests.fakes.clock import turns_until
from tests.fakes.faults import Hold
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry
from tests.fakes.skopeo import Skopeo, check_directory

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


async def test_images_are_judged_by_the_coordinator(
    cluster: Any, fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    """A gate is a program of its machine; workers bring the blobs all the same."""
    for name in ("good", "bad"):
        fake_registry.add(f"{name}:1", small(name))
    settings = options(
        fake_registry,
        pushable_registry,
        "SOURCE/good:1",
        "SOURCE/bad:1",
        cluster=cluster.scheduler_address,
        gate=Gate(("sh", "-c", 'case "$0" in *bad*) exit 1;; esac', "{source}")),
    )
    report = await mirror(settings)
    assert [outcome.state for outcome in report.outcomes] == ["copied", "failed"]
    assert isinstance(report.outcomes[1].error, NotAdmitted)
    assert report.sent.uploaded_blobs == 4
    assert await pushable_registry.content.tags("copies/bad") in (None, [])


async def test_a_worker_that_is_killed_is_replaced_by_others(
    cluster: Any, fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    content = pushable_registry.content
    for name, image in (await copy_and_kill(cluster, fake_registry, pushable_registry.address, moment=3)).items():
        assert await tagged(content, f"copies/{name}:1") == image.digest
        for digest, data in image.blobs.items():
            assert await content.size(f"copies/{name}", digest) == len(data)


async def check_by_skopeo(skopeo: Skopeo, registry: str, built: Mapping[str, Built], directory: Path) -> None:
    for name, image in built.items():
        source = f"docker://{registry}/copies/{name}:1"
        await skopeo("copy", "--all", "--src-tls-verify=false", source, f"dir:{directory / name}")
        check_directory(directory / name, image)


@pytest.mark.cluster
@pytest.mark.parametrize("moment", range(1, 14, 2))
async def test_skopeo_finds_every_digest_after_the_death_of_a_worker(
    cluster: Any, fake_registry: FakeRegistry, docker_registry: str, skopeo: Skopeo, tmp_path: Path, moment: int
) -> None:
    needs_cluster()
    built = await copy_and_kill(cluster, fake_registry, docker_registry, moment)
    await check_by_skopeo(skopeo, docker_registry, built, tmp_path)


@pytest.mark.cluster
@pytest.mark.parametrize("moment", [20, 24, 28])
async def test_skopeo_finds_every_digest_after_the_death_of_a_coordinator(
    cluster: Any, fake_registry: FakeRegistry, docker_registry: str, skopeo: Skopeo, tmp_path: Path, moment: int
) -> None:
    """The same command goes on, and its workers have stopped what the first one wanted."""
    needs_cluster()
    built = fill(fake_registry, moment)
    lines = [f"{fake_registry.address}/{name}:1" for name in built]
    flags = ["-d", f"{docker_registry}/copies", "-a", "all", "--os", "all", "--cluster", cluster.scheduler_address]
    command = [sys.executable, "-m", "hangar_async", "mirror", *lines, *flags, "--default-project", ""]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment)

    hold = Hold(asyncio.Event())
    fake_registry.fail("/blobs/", hold, skip=moment - 20, times=None)
    first = await start()
    await hold.reached.wait()
    first.kill()
    await first.wait()
    await turns_until(lambda: not fake_registry.active, 10_000_000)
    fake_registry.faults.rules.clear()
    assert await (await start()).wait() == 0
    await check_by_skopeo(skopeo, docker_registry, built, tmp_path)


def plugins_of(cluster: Any) -> set[str]:
    """Return the names of the runs that workers have settings of; those of a coordinator that was killed stay."""
    return {name for name in cluster.scheduler.worker_plugins if name.startswith("hangar")}


def needs_cluster() -> None:
    """Skip what takes long, and needs nothing else than `make cluster`."""
    if not os.environ.get("CLUSTER"):
        pytest.skip("make cluster runs it: it kills workers and coordinators at many moments")


async def test_no_login_is_in_tasks_or_in_what_the_scheduler_knows(
    cluster: Any, fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    secret = "coordinators-own"
    hold = Hold(asyncio.Event())
    before = plugins_of(cluster)
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
    plugins = [scheduler.worker_plugins[name] for name in plugins_of(cluster) - before]
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
    before = plugins_of(cluster)
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
    assert plugins_of(cluster) == before
