"""Jobs delete what they have put and do not choose any more, on a registry that does it, and tell what stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hangar_async.engine.events import Notice
from hangar_async.engine.jobs.plan import read_plan
from hangar_async.engine.jobs.report import JobsReport
from hangar_async.engine.jobs.run import mirror_jobs
from hangar_async.errors import UsageError
from hangar_async.testing.images import Built
from hangar_async.threads import in_thread
from tests.engine.jobs.rig import options, wire
from tests.engine.loading import tagged
from tests.engine.reporting.rig import checked
from tests.engine.signed import Signed
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Status
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry

JOB = "- {name: apps, from: SOURCE/team/app, tags: {match: 'v*', newest: 2}, prune: {}}\n"


async def run(
    directory: Path, source: FakeRegistry, target: FakeRegistry, jobs: str = JOB, seen: Any = None, **keywords: Any
) -> JobsReport:
    made = options(directory, jobs, source, target, **{"state": directory / "known.db", **keywords})
    return await mirror_jobs(made, seen or (lambda event: None), clock=FakeClock().clock)


def versions(registry: FakeRegistry, *tags: str) -> None:
    """Put an image of its own under each tag."""
    for tag in tags:
        registry.add(f"team/app:{tag}", small(tag))


async def tags(registry: FakeRegistry, repository: str = "copies/app") -> list[str]:
    return list(await registry.content.tags(repository) or ())


def told(report: JobsReport) -> list[tuple[str, str]]:
    """The state and the reason of each tag that is not chosen any more, of all jobs."""
    return [(tag.state, tag.reason) for job in report.jobs for tag in job.pruned]


async def test_an_older_version_goes_when_a_newer_one_has_come(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    versions(fake_registry, "v1", "v2")
    versions(pushable_registry, "v0")
    pushable_registry.add("copies/app:v0", small("foreign"))
    await run(tmp_path, fake_registry, pushable_registry)
    versions(fake_registry, "v3")
    pushable_registry.requests.clear()
    dry = await run(tmp_path, fake_registry, pushable_registry, check=True)
    assert (told(dry), dry.status) == ([("planned", "")], 4)
    assert {request.method for request in pushable_registry.requests} <= {"GET", "HEAD"}
    events: list[Any] = []
    path = tmp_path / "report.json"
    report = await run(tmp_path, fake_registry, pushable_registry, seen=events.append, report=path)
    assert (told(report), report.status) == ([("deleted", "")], 0)
    [record] = checked(path.read_text())["pruned"]
    assert record == {
        "target": f"{pushable_registry.address}/copies/app:v1",
        "digest": str(small("v1").digest),
        "status": "deleted",
        "reason": "",
    }
    # Not the tag that another program has put.
    assert await tags(pushable_registry) == ["v0", "v2", "v3"]
    name = f"{pushable_registry.address}/copies/app:v1"
    assert f"{name} is deleted, and was {small('v1').digest}" in [
        event.text for event in events if isinstance(event, Notice)
    ]
    assert await pushable_registry.content.resolve("copies/app", small("v1").digest) is not None
    assert (await run(tmp_path, fake_registry, pushable_registry, check=True)).status == 0


async def test_no_request_is_made_while_all_that_is_there_is_chosen(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    versions(fake_registry, "v1", "v2")
    job = JOB.replace("prune", "referrers: none, prune")
    await run(tmp_path, fake_registry, pushable_registry, job)
    wire(pushable_registry)
    await run(tmp_path, fake_registry, pushable_registry, job)
    assert [method for method, _ in wire(pushable_registry)] == ["HEAD", "HEAD"]


async def test_a_tag_that_was_there_is_not_the_job_s_though_it_names_the_same_image(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    versions(fake_registry, "v1", "v2")
    pushable_registry.add("copies/app:v1", small("v1"))
    await run(tmp_path, fake_registry, pushable_registry)
    versions(fake_registry, "v3")
    assert told(await run(tmp_path, fake_registry, pushable_registry)) == []
    assert "v1" in await tags(pushable_registry)


async def test_without_the_state_of_the_earlier_run_nothing_is_deleted(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    versions(fake_registry, "v1", "v2")
    await run(tmp_path, fake_registry, pushable_registry)
    versions(fake_registry, "v3")
    assert told(await run(tmp_path, fake_registry, pushable_registry, state=tmp_path / "other.db")) == []
    (tmp_path / "known.db").write_bytes((tmp_path / "known.db").read_bytes()[:100] + b"\xff" * 9_000)
    damaged = await run(tmp_path, fake_registry, pushable_registry)
    assert (told(damaged), damaged.status) == ([], 0)
    assert "is damaged" in damaged.notices[0]
    assert "v1" in await tags(pushable_registry)


@pytest.mark.parametrize("fault", ["list", "empty", "image"])
async def test_a_source_that_fails_or_is_empty_deletes_nothing(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, fault: str
) -> None:
    versions(fake_registry, "v1", "v2")
    await run(tmp_path, fake_registry, pushable_registry)
    versions(fake_registry, "v3")
    if fault == "list":
        fake_registry.fail("/team/app/tags/list", Status(403), times=None)
    elif fault == "empty":
        for tag in ("v1", "v2", "v3"):
            fake_registry.content.untag("team/app", tag)
    else:
        fake_registry.fail("/team/app/manifests/v3", Status(403), times=None)
    report = await run(tmp_path, fake_registry, pushable_registry, prune_anyway=True)
    reasons = {
        "list": "the tags of its source could not be listed",
        "empty": "its source lists no tags",
        "image": "an image of its repository failed",
    }
    assert set(told(report)) == {("left", reasons[fault])}
    assert await tags(pushable_registry) == ["v1", "v2"]


async def test_referrers_and_tags_of_cosign_stay(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    signed = Signed(fake_registry.address, tmp_path)
    signed.add_to(fake_registry)
    fake_registry.content.tag("team/app", "v1", signed.image.digest)
    versions(fake_registry, "v2")
    job = JOB.replace("newest: 2", "newest: 1")
    fake_registry.content.tag("team/app", "v3", signed.image.digest)
    await run(tmp_path, fake_registry, pushable_registry, job.replace("newest: 1", "newest: 3"))
    before = {tag for tag in await tags(pushable_registry) if tag.startswith("sha256-")}
    assert before == set(signed.cosign)
    report = await run(tmp_path, fake_registry, pushable_registry, job)
    assert sorted(told(report)) == [("deleted", ""), ("left", "v3 names the same image, and stays")]
    assert set(await tags(pushable_registry)) == {"v1", "v3", *before}
    assert await tagged(pushable_registry.content, "copies/app:v3") == signed.image.digest


async def test_a_registry_that_deletes_no_tags_is_told_and_left(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    assert pushable_registry.pushes is not None
    pushable_registry.pushes.deletes_tags = False
    versions(fake_registry, "v1", "v2")
    await run(tmp_path, fake_registry, pushable_registry)
    versions(fake_registry, "v3")
    stays = [("left", f"{pushable_registry.address} deletes no tags")]
    report = await run(tmp_path, fake_registry, pushable_registry)
    assert (told(report), report.status) == (stays, 0)
    # A check does not find the same difference each night.
    check = await run(tmp_path, fake_registry, pushable_registry, check=True)
    assert (told(check), check.status) == (stays, 0)
    # A run asks it again.
    pushable_registry.pushes.deletes_tags = True
    assert told(await run(tmp_path, fake_registry, pushable_registry)) == [("deleted", "")]
    versions(fake_registry, "v4")
    assert told(await run(tmp_path, fake_registry, pushable_registry, check=True)) == [("planned", "")]


async def test_more_than_at_most_ends_with_status_1_and_goes_on_demand(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    versions(fake_registry, "v1", "v2", "v3", "v4")
    await run(tmp_path, fake_registry, pushable_registry, JOB.replace("newest: 2", "newest: 4"))
    job = JOB.replace("newest: 2", "newest: 1")
    report = await run(tmp_path, fake_registry, pushable_registry, job)
    reason = "3 of the 4 tags there are more than at-most 50% (--prune-anyway)"
    assert (told(report), report.status) == ([("failed", reason)] * 3, 1)
    report = await run(tmp_path, fake_registry, pushable_registry, job, prune_anyway=True)
    assert (await tags(pushable_registry), report.status) == (["v4"], 0)


async def test_another_job_of_the_file_may_want_the_tag(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    versions(fake_registry, "v1", "v2", "v3")
    await run(tmp_path, fake_registry, pushable_registry, JOB.replace("newest: 2", "newest: 3"))
    moved: Built = small("v1")
    fake_registry.add("team/old:v1", moved)
    jobs = f"{JOB}- {{name: old, from: 'SOURCE/team/*', to: 'TARGET/copies/app', tags: [v1]}}\n"
    report = await run(tmp_path, fake_registry, pushable_registry, jobs, only=["apps"])
    assert told(report) == [("left", "job old may want it, and is not run")]


async def test_a_prune_without_a_state_or_of_a_shard_is_refused(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"mirror.yaml:4:3: job apps has `prune`, which needs a state: write `state"):
        await run(tmp_path, fake_registry, pushable_registry, state=None)
    with pytest.raises(UsageError, match=r"job apps has `prune`, which a shard cannot do: leave out --shard"):
        await run(tmp_path, fake_registry, pushable_registry, shard="0/2")
    assert fake_registry.requests == []


async def planned(directory: Path, source: FakeRegistry, target: FakeRegistry) -> Path:
    """Copy two versions, and make a plan that replaces the older one."""
    versions(source, "v1", "v2")
    await run(directory, source, target)
    versions(source, "v3")
    await run(directory, source, target, plan_out=directory / "plan.json")
    return directory / "plan.json"


async def test_a_plan_names_what_goes_and_deletes_it(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    path = await planned(tmp_path, fake_registry, pushable_registry)
    [deleted] = (await in_thread(read_plan, path)).jobs[0].deleted
    assert (deleted.tag, deleted.digest) == ("v1", str(small("v1").digest))
    assert await tags(pushable_registry) == ["v1", "v2"]
    # Of a version that has come since, the plan knows nothing.
    versions(fake_registry, "v4")
    report = await run(tmp_path, fake_registry, pushable_registry, plan=path)
    assert told(report) == [("deleted", "")]
    assert await tags(pushable_registry) == ["v2", "v3"]


async def test_a_plan_deletes_nothing_that_is_wanted_again_or_not_the_job_s_any_more(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    path = await planned(tmp_path, fake_registry, pushable_registry)
    name = f"{pushable_registry.address}/copies/app:v1"
    wanted = JOB.replace("newest: 2", "newest: 3")
    report = await run(tmp_path, fake_registry, pushable_registry, wanted, plan=path)
    assert report.notices == (f"{name} stays: it is chosen or kept now, or not the job's any more",)
    pushable_registry.add("copies/app:v1", small("another"))
    report = await run(tmp_path, fake_registry, pushable_registry, plan=path)
    assert told(report) == [("left", f"another program has put it: it is {small('another').digest}")]
    assert "v1" in await tags(pushable_registry)
    fake_registry.fail("/team/app/tags/list", Status(403), times=None)
    report = await run(tmp_path, fake_registry, pushable_registry, plan=path)
    assert told(report) == []


async def test_the_plan_goes_to_a_function_too(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    versions(fake_registry, "v1")
    texts: list[str] = []
    await run(tmp_path, fake_registry, pushable_registry, plan_out=texts.append, report=tmp_path / "report.json")
    assert [image["tag"] for image in checked(texts[0], "plan")["jobs"][0]["images"]] == ["v1"]
    assert checked((tmp_path / "report.json").read_text())["options"]["plan_out"] == "-"
    with pytest.raises(UsageError, match="both go to standard output"):
        options(tmp_path, JOB, fake_registry, pushable_registry, plan_out=texts.append, report=texts.append)
