"""Webhooks are told what came of a run, a few times, and never end one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.engine.events import Event, Notice
from hangar_async.engine.jobs.run import mirror_jobs
from hangar_async.errors import UsageError
from hangar_async.server.listen import listening
from tests.engine.jobs.rig import fill, options
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Status
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry

JOB = "- {name: apps, from: SOURCE/team/app, tags: [one], referrers: none}\n"


@dataclass
class Hook:
    """A server that takes webhooks, and answers with its statuses, and then 200."""

    statuses: list[int] = field(default_factory=list)
    got: list[dict[str, Any]] = field(default_factory=list)
    address: str = ""

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(await request.json())
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    @asynccontextmanager
    async def open(self, *statuses: int) -> AsyncIterator[Hook]:
        self.statuses += statuses
        app = web.Application()
        app.router.add_post("/s3cret", self.take)
        async with listening(app) as self.address:
            yield self


def told(made: MirrorJobsOptions, hook: Hook, when: str) -> MirrorJobsOptions:
    """Add a webhook of a variable to a job file."""
    path = made.config
    path.write_text(path.read_text().replace("jobs:", f"notify: [{{when: {when}, webhook: '${{HOOK}}'}}]\njobs:", 1))
    variables = {"HOOK": f"http://{hook.address}/s3cret"}
    return replace(made, environment=replace(made.environment, variables=variables))


async def run(made: MirrorJobsOptions, clock: FakeClock | None = None) -> list[str]:
    """Run the jobs; return the notices."""
    seen: list[Event] = []
    await mirror_jobs(made, seen.append, clock=(clock or FakeClock()).clock)
    return [event.text for event in seen if isinstance(event, Notice)]


async def test_what_came_of_a_run_is_told_where_it_is_wanted(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "one")
    async with Hook().open() as hook:
        made = told(options(tmp_path, JOB, fake_registry, pushable_registry), hook, "[copied, failed]")
        assert await run(made) == []
        [copied] = hook.got
        assert (copied["text"], copied["jobs"], copied["status"]) == ("hangar-async: apps: 1 copied", ["apps"], 0)
        assert copied["report"]["totals"]["done"] == 1
        assert [image["status"] for image in copied["report"]["images"]] == ["done"]
        # Nothing is copied now, and a dry run tells nothing.
        await run(made)
        fake_registry.fail("/manifests/", Status(404), times=None)
        await run(replace(made, dry_run=True))
        assert len(hook.got) == 1
        await run(made)
    failed = hook.got[1]
    assert failed["text"].startswith("hangar-async: apps: 1 failed (")
    assert (failed["status"], failed["report"]["images"][0]["reason"]) == (3, "not found")


async def test_a_run_that_breaks_off_is_told(tmp_path: Path) -> None:
    async with Hook().open() as hook:
        path = tmp_path / "mirror.yaml"
        path.write_text("version: 1\njobs: [{name: a, list: none.txt, to: 'h.io/x'}]")
        with pytest.raises(UsageError):
            await run(told(MirrorJobsOptions(config=path), hook, "failed"))
    assert hook.got[0]["text"].startswith("hangar-async: a: broke off: ")
    assert (hook.got[0]["status"], hook.got[0]["report"]) == (None, None)


@pytest.mark.parametrize(
    ("statuses", "tries", "reason"),
    [
        ((503, 429), 3, None),
        ((500,) * 9, 4, "status 500"),
        ((404,), 1, "status 404"),
    ],
)
async def test_a_webhook_has_a_few_tries_and_ends_no_run(
    fake_registry: FakeRegistry,
    pushable_registry: FakeRegistry,
    tmp_path: Path,
    statuses: tuple[int, ...],
    tries: int,
    reason: str | None,
) -> None:
    fill(fake_registry, "team/app", "one")
    async with Hook().open(*statuses) as hook:
        made = told(options(tmp_path, JOB, fake_registry, pushable_registry), hook, "always")
        notices = await run(made, clock := FakeClock())
    assert len(hook.got) == tries
    assert clock.waits == [1.0, 5.0, 15.0][: tries - 1]
    assert notices == [f"the webhook in line 3 of {made.config} was not told: {reason}"] * (reason is not None)


async def test_one_that_is_not_reached_is_told_without_its_address(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "one")
    async with Hook().open() as hook:
        pass
    [notice] = await run(told(options(tmp_path, JOB, fake_registry, pushable_registry), hook, "always"))
    assert notice.endswith(" was not told: network: it was not reached")
    assert not {"s3cret", hook.address} & set(notice.split())


async def test_values_of_variables_are_hidden_in_texts_alone(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "images/app", "one")
    async with Hook().open() as hook:
        made = told(options(tmp_path, JOB, fake_registry, pushable_registry), hook, "always")
        made.config.write_text(
            made.config.read_text().replace(f"{fake_registry.address}/team/app", "'${FROM}/${TEAM}/app'")
        )
        variables = {**made.environment.variables, "FROM": fake_registry.address, "TEAM": "images"}
        await run(replace(made, environment=replace(made.environment, variables=variables)))
    assert fake_registry.address not in json.dumps(hook.got)
    assert [image["name"] for image in hook.got[0]["report"]["images"]] == ["${FROM}/${TEAM}/app:one"]


async def test_a_webhook_that_never_answers_is_given_up(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(fake_registry, "team/app", "one")
    monkeypatch.setattr("hangar_async.engine.jobs.notify._LONGEST", 0.0)
    async with Hook().open() as hook:
        [notice] = await run(told(options(tmp_path, JOB, fake_registry, pushable_registry), hook, "always"))
    assert notice.endswith("was not told: it took too long")


async def test_tags_that_were_deleted_are_told(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    job = (
        "- {name: apps, from: SOURCE/team/app, tags: {match: 'v*', newest: 1}, prune: {at-most: 9}, referrers: none}\n"
    )
    async with Hook().open() as hook:
        made = options(tmp_path, job, fake_registry, pushable_registry, state=tmp_path / "state")
        made = told(made, hook, "pruned")
        for tag in ("v1", "v2"):
            fake_registry.add(f"team/app:{tag}", small(tag))
            await run(made)
    assert len(hook.got) == 1
