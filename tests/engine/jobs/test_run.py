"""Jobs of a file are run one after the other, and each says what came of it."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.job_file_options import DEFAULT_FAILED, MirrorJobsOptions
from hangar_async.config.shard import Shard
from hangar_async.engine.events import Event, ImageEnded, MirrorEnded, Notice, RunStarted
from hangar_async.engine.jobs.report import JobsReport
from hangar_async.engine.jobs.run import mirror_jobs
from hangar_async.errors import NotAdmitted, NotFound, Unauthorized, UsageError
from tests.engine.jobs.rig import SETTINGS, fill, options, secret, wire
from tests.engine.loading import tagged
from tests.engine.reporting.rig import checked
from tests.engine.signed import Signed
from tests.fakes.auth import Basic
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Status
from tests.fakes.harbor import PASSWORD, Harbor
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry, fake_registry

JOB = "- {name: apps, from: SOURCE/team/app, tags: {match: 'v*', newest: 2}}\n"


async def run(
    directory: Path, jobs: str, source: FakeRegistry, target: FakeRegistry, seen: Any = None, **keywords: Any
) -> JobsReport:
    made = options(directory, jobs, source, target, **keywords)
    return await mirror_jobs(made, seen or (lambda event: None), clock=FakeClock().clock)


async def tags(registry: FakeRegistry, repository: str) -> list[str]:
    return list(await registry.content.tags(repository) or ())


async def test_chosen_tags_are_copied_and_cost_little_when_they_are_there(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    built = fill(fake_registry, "team/app", "v1.0.0 v1.1.0 v1.2.0 v1.3.0-rc1 v1 latest")
    report = await run(tmp_path, JOB, fake_registry, pushable_registry)
    assert (report.status, report.dry, len(report.jobs)) == (0, False, 1)
    assert await tags(pushable_registry, "copies/app") == ["v1.1.0", "v1.2.0"]
    assert await tagged(pushable_registry.content, "copies/app:v1.2.0") == built.digest
    assert report.whole.sent.uploaded_blobs > 0
    wire(fake_registry), wire(pushable_registry)
    again = await run(tmp_path, JOB, fake_registry, pushable_registry)
    assert [outcome.state for outcome in again.jobs[0].report.outcomes] == ["unchanged"] * 2  # type: ignore[union-attr]
    listed = ("GET", "/v2/team/app/tags/list")
    assert wire(fake_registry) == [listed, *(("HEAD", f"/v2/team/app/manifests/v1.{n}.0") for n in (1, 2))]
    assert wire(pushable_registry) == [("HEAD", f"/v2/copies/app/manifests/v1.{n}.0") for n in (1, 2)]


async def test_tags_that_are_named_need_no_list(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "one two three")
    job = "- {name: apps, from: SOURCE/team/app, tags: [one, two], referrers: none}"
    await run(tmp_path, job, fake_registry, pushable_registry)
    assert await tags(pushable_registry, "copies/app") == ["one", "two"]
    assert not fake_registry.asked("/tags/list")


async def test_immutable_tags_on_both_sides_are_not_asked_for(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    job = "- {name: apps, from: SOURCE/team/app, tags: {immutable: 'v*.*'}}"
    fill(fake_registry, "team/app", "v1.0 v1.1 latest")
    first = await run(tmp_path, job, fake_registry, pushable_registry)
    assert (first.status, first.jobs[0].immutable) == (0, 0)
    fill(fake_registry, "team/app", "v1.2")
    wire(fake_registry), wire(pushable_registry)
    again = await run(tmp_path, job, fake_registry, pushable_registry)
    assert again.jobs[0].immutable == 2
    asked = [path for _, path in wire(fake_registry) if "/manifests/v" in path]
    assert {path.rpartition("/")[2] for path in asked} == {"v1.2"}
    assert not [path for _, path in wire(pushable_registry) if path.endswith(("/v1.0", "/v1.1"))]
    assert await tags(pushable_registry, "copies/app") == ["latest", "v1.0", "v1.1", "v1.2"]


async def test_a_tag_that_is_there_may_stay(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    job = "- {name: apps, from: SOURCE/team/app, tags: latest, overwrite: never}"
    first = fill(fake_registry, "team/app", "latest")
    await run(tmp_path, job, fake_registry, pushable_registry)
    fake_registry.add("team/app:latest", small("moved"))
    report = await run(tmp_path, job, fake_registry, pushable_registry)
    assert report.status == 0
    assert await tagged(pushable_registry.content, "copies/app:latest") == first.digest


async def test_a_dry_run_sends_nothing_and_a_check_tells_differences_by_its_status(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1.0.0 v1.1.0 v1.2.0 main")
    dry = await run(tmp_path, JOB, fake_registry, pushable_registry, dry_run=True)
    assert (dry.status, dry.differs) == (0, True)
    selection = dry.jobs[0].choices[0].selection
    assert selection is not None
    assert [(step.name, len(step.fallen)) for step in selection.steps if step.fallen] == [
        ("match v*", 1),
        ("newest 2", 1),
    ]
    assert (await run(tmp_path, JOB, fake_registry, pushable_registry, check=True)).status == 4
    assert {request.method for request in pushable_registry.requests} <= {"GET", "HEAD"}
    await run(tmp_path, JOB, fake_registry, pushable_registry)
    assert (await run(tmp_path, JOB, fake_registry, pushable_registry, check=True)).status == 0


async def test_what_fails_of_one_job_leaves_the_others(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1.0.0 v1.1.0")
    fake_registry.fail("/team/app/manifests/v1.0.0", Status(403), times=None)
    jobs = f"- {{name: gone, from: SOURCE/team/none, tags: {{newest: 1}}}}\n{JOB}"
    failed = tmp_path / "failed.txt"
    report = await run(tmp_path, jobs, fake_registry, pushable_registry, failed=failed)
    assert (report.status, [job.ok for job in report.jobs]) == (1, [False, False])
    assert isinstance(report.jobs[0].refused[0].error, NotFound)
    assert await tags(pushable_registry, "copies/app") == ["v1.1.0"]
    source, target = fake_registry.address, pushable_registry.address
    lines = failed.read_text().splitlines()[1:]
    assert lines[0].startswith(f"# job gone: {source}/team/none: ")
    assert lines[1:] == [f"{source}/team/app {target}/copies/app v1.0.0"]
    only = await run(tmp_path, jobs, fake_registry, pushable_registry, only=["gone"], failed=failed)
    assert (only.status, len(only.jobs)) == (3, 1)


async def test_a_tag_that_also_names_and_that_is_missing_fails(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1.0.0")
    job = "- {name: apps, from: SOURCE/team/app, tags: {version: '>=1', also: [stable]}}"
    report = await run(tmp_path, job, fake_registry, pushable_registry)
    assert report.status == 1
    assert [str(outcome.entry.source.tag) for outcome in report.jobs[0].report.failed] == ["stable"]  # type: ignore[union-attr]
    assert await tags(pushable_registry, "copies/app") == ["v1.0.0"]


async def test_a_job_that_chooses_nothing_is_told(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "main")
    seen: list[Event] = []
    report = await run(tmp_path, JOB, fake_registry, pushable_registry, seen.append)
    assert (report.status, report.jobs[0].report) == (0, None)
    told = f"job apps chooses none of the 1 tags of {fake_registry.address}/team/app"
    assert [event.text for event in seen if isinstance(event, Notice)] == [told]
    assert report.notices == (told,)


async def test_versions_that_all_have_variants_fail_their_repository(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1.0.0-k3s1 v1.1.0-k3s1")
    report = await run(tmp_path, JOB, fake_registry, pushable_registry)
    assert report.status == 3
    assert "there are k3s1" in str(report.jobs[0].refused[0].error)


async def test_a_list_is_copied_by_a_template(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "one two")
    (tmp_path / "images.txt").write_text(
        f"{fake_registry.address}/team/app:one\n"
        f"{fake_registry.address}/team/app {pushable_registry.address}/other/app two\n"
    )
    seen: list[Event] = []
    jobs = f"- {{name: pinned, list: images.txt}}\n{JOB.replace('v*', 'o*').replace(', newest: 2', '')}"
    report = await run(tmp_path, jobs, fake_registry, pushable_registry, seen.append)
    assert report.status == 0
    assert await tags(pushable_registry, "copies/app") == ["one"]
    assert await tags(pushable_registry, "other/app") == ["two"]
    assert [event.images for event in seen if isinstance(event, RunStarted)] == [3]
    assert sum(isinstance(event, ImageEnded) for event in seen) == 3


async def test_some_platforms_of_a_job(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "one")
    job = "- {name: apps, from: SOURCE/team/app, tags: one, platforms: linux/s390x}"
    report = await run(tmp_path, job, fake_registry, pushable_registry)
    assert (report.status, report.jobs[0].ok) == (3, False)


async def test_a_report_has_the_images_of_all_jobs(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1.0.0 v1.1.0")
    jobs = f"- {{name: gone, from: SOURCE/team/none, tags: {{newest: 1}}}}\n{JOB}"
    path = tmp_path / "report.json"
    await run(tmp_path, jobs, fake_registry, pushable_registry, report=path)
    document = checked(path.read_text())
    assert [(image["status"], image["target"].partition("/")[2]) for image in document["images"]] == [
        ("failed", "copies/none:latest"),
        ("done", "copies/app:v1.0.0"),
        ("done", "copies/app:v1.1.0"),
    ]
    assert document["totals"]["images"] == 3


async def test_a_plan_is_copied_exactly(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    first = fill(fake_registry, "team/app", "v1.0.0 v1.1.0")
    plan, seen = tmp_path / "plan.json", list[Event]()
    report = await run(tmp_path, JOB, fake_registry, pushable_registry, plan_out=plan)
    assert (report.dry, report.need.blobs) == (True, len(first.blobs))
    assert {request.method for request in pushable_registry.requests} <= {"GET", "HEAD"}
    moved = fake_registry.add("team/app:v1.1.0", small("moved"))
    fill(fake_registry, "team/app", "v1.2.0")
    copied = await run(tmp_path, JOB, fake_registry, pushable_registry, seen.append, plan=plan)
    assert copied.status == 0
    assert await tags(pushable_registry, "copies/app") == ["v1.0.0", "v1.1.0"]
    assert await tagged(pushable_registry.content, "copies/app:v1.1.0") == first.digest
    name = f"{fake_registry.address}/team/app"
    told = f"{name}:v1.1.0 is {moved.short} now, and was {first.digest} in the plan"
    assert [event.text for event in seen if isinstance(event, Notice)] == [told]
    fake_registry.content.remove("team/app", moved)
    again = await run(tmp_path, JOB, fake_registry, pushable_registry, plan=plan)
    assert [outcome.state for outcome in again.jobs[0].report.outcomes] == ["unchanged"] * 2  # type: ignore[union-attr]
    assert again.notices == (f"{name}:v1.1.0 is gone, and was {first.digest} in the plan",)


async def test_a_plan_that_the_file_does_not_allow(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1.0.0")
    plan = tmp_path / "plan.json"
    await run(tmp_path, JOB, fake_registry, pushable_registry, plan_out=plan)
    wire(fake_registry), wire(pushable_registry)
    with pytest.raises(UsageError, match=r"does not copy .*/team/app to .*/copies/app: make another plan"):
        await run(tmp_path, JOB.replace("team/app", "team/other"), fake_registry, pushable_registry, plan=plan)
    assert fake_registry.requests == pushable_registry.requests == []


async def test_a_state_is_kept_between_runs(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1.0.0")
    await run(tmp_path, JOB, fake_registry, pushable_registry, state=tmp_path / "known.db")
    assert (tmp_path / "known.db").read_bytes().startswith(b"SQLite")


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ("- {name: a, from: SOURCE/x, tgas: v1}", r"mirror.yaml:4:30: `tgas` is no field of `jobs`: write `tags`"),
        ("- {name: a, list: none.txt}", "cannot read the image list .*none.txt"),
    ],
)
async def test_a_wrong_file_is_told_before_any_request(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, jobs: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message.replace("4:30", r"4:\d+")):
        await run(tmp_path, jobs, fake_registry, pushable_registry)
    assert fake_registry.requests == pushable_registry.requests == []


async def test_times_are_asked_of_the_candidates_alone(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    for tag, day in (("v1", "2999-01-01"), ("v2", "2001-01-01"), ("v3", "1970-01-01"), ("main", "2999-01-01")):
        fake_registry.add(f"team/app:{tag}", small(f"app{tag}", created=f"{day}T00:00:00.123456789Z"))
    job = "- {name: apps, from: SOURCE/team/app, tags: {match: 'v*', newer-than: 30d}}"
    dry = await run(tmp_path, job, fake_registry, pushable_registry, dry_run=True)
    [notice] = dry.notices
    assert notice.startswith(f"3 tags of {fake_registry.address}/team/app were asked for their age one by one")
    report = await run(tmp_path, job, fake_registry, pushable_registry)
    assert (report.status, report.notices) == (0, ())
    assert await tags(pushable_registry, "copies/app") == ["v1"]
    assert not fake_registry.asked("/manifests/main")


LISTED = "- {name: listed, list: LIST, to: 'TARGET/listed/{name}'}\n"


async def test_a_report_has_lines_that_need_no_job(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1.0.0")
    (tmp_path / "list.txt").write_text(f"{fake_registry.address}/team/app:v1.0.0\n{fake_registry.address}/none:1\n")
    events: list[Event] = []
    jobs = LISTED.replace("LIST", str(tmp_path / "list.txt"))
    await run(tmp_path, jobs, fake_registry, pushable_registry, events.append, report=tmp_path / "report.json")
    document = checked((tmp_path / "report.json").read_text())
    to = pushable_registry.address
    assert [one["text"] for one in document["images"]] == [
        f"{fake_registry.address}/team/app {to}/listed/app v1.0.0",
        f"{fake_registry.address}/none {to}/listed/none 1",
    ]
    [ended] = [event.report for event in events if isinstance(event, MirrorEnded)]
    assert [outcome.state for outcome in ended.outcomes] == ["copied", "failed"]


async def test_jobs_that_break_off_report_the_images_that_they_did_not_reach(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1.0.0 v1.1.0")
    texts: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, ImageEnded):
            raise ZeroDivisionError("a fault")

    with pytest.raises(ExceptionGroup):
        await run(tmp_path, JOB, fake_registry, pushable_registry, observe, report=texts.append)
    document = checked(texts[0])
    assert (document["end"], len(document["images"])) == ("failed", 2)
    assert {one["text"].count(" ") for one in document["images"]} == {2}


@pytest.mark.parametrize("name", ["mirror.yaml", "list.txt", "none/report.json"])
async def test_a_report_in_the_place_of_an_input_is_refused(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, name: str
) -> None:
    (tmp_path / "list.txt").write_text(f"{fake_registry.address}/team/app:v1.0.0\n")
    jobs = LISTED.replace("LIST", str(tmp_path / "list.txt"))
    with pytest.raises(UsageError, match=r"would replace|does not exist|is no report"):
        await run(tmp_path, jobs, fake_registry, pushable_registry, report=tmp_path / name)
    assert not fake_registry.requests


def asked_for_referrers(registry: FakeRegistry) -> int:
    return sum("/referrers/" in path for _, path in wire(registry))


async def test_a_job_with_a_state_asks_for_referrers_while_an_image_is_young_and_once_a_day(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1.0.0")
    made = options(tmp_path, JOB, fake_registry, pushable_registry, state=tmp_path / "known.db")
    hour, counts = 3600, list[int]()
    for age in (0, 1 * hour, 20 * hour, 25 * hour, 26 * hour, 50 * hour, 51 * hour):
        clock = FakeClock(wall=1_800_000_000.0 + age).clock
        report = await mirror_jobs(made, lambda event: None, clock=clock)
        assert report.status == 0
        assert report.whole.unlooked == 0
        counts.append(asked_for_referrers(fake_registry))
    assert counts == [1, 1, 1, 0, 0, 1, 0]
    # A digest that the state has lost is young again.
    (tmp_path / "known.db").unlink()
    await mirror_jobs(made, lambda event: None, clock=clock)
    assert asked_for_referrers(fake_registry) == 1


async def test_signatures_that_come_later_are_brought_and_cost_the_source_no_manifest(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    signed = Signed(fake_registry.address, tmp_path)
    fake_registry.add("team/app:v1.0.0", signed.image)
    state = tmp_path / "known.db"
    await run(tmp_path, JOB, fake_registry, pushable_registry, state=state)
    wire(fake_registry)
    await run(tmp_path, JOB, fake_registry, pushable_registry, state=state)
    assert not [path for method, path in wire(fake_registry) if method == "GET" and "/manifests/" in path]
    signed.add_to(fake_registry)
    report = await run(tmp_path, JOB, fake_registry, pushable_registry, state=state)
    assert [outcome.state for outcome in report.jobs[0].outcomes] == ["unchanged"]
    assert set(await tags(pushable_registry, "copies/app")) == {"v1.0.0", *signed.cosign}


async def test_the_age_of_an_image_is_asked_for_once(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    for tag, day in (("v1", "2999-01-01"), ("v2", "2001-01-01"), ("v3", "1970-01-01")):
        fake_registry.add(f"team/app:{tag}", small(f"app{tag}", created=f"{day}T00:00:00Z"))
    job = "- {name: apps, from: SOURCE/team/app, tags: {match: 'v*', newer-than: 30d}, referrers: none}"
    for number in range(2):
        report = await run(tmp_path, job, fake_registry, pushable_registry, state=tmp_path / "known.db")
        assert await tags(pushable_registry, "copies/app") == ["v1"]
        assert report.status == 0
        asked = wire(fake_registry)
        assert number == 0 or [one for one in asked if one[0] == "GET"] == [("GET", "/v2/team/app/tags/list")]
    fake_registry.add("team/app:v2", small("new", created="2999-01-01T00:00:00Z"))
    await run(tmp_path, job, fake_registry, pushable_registry, state=tmp_path / "known.db")
    assert await tags(pushable_registry, "copies/app") == ["v1", "v2"]


async def test_a_run_has_the_state_from_its_first_job_to_its_last(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1.0.0")
    made = options(tmp_path, JOB, fake_registry, pushable_registry, state=tmp_path / "known.db")
    messages: list[str] = []

    async def second() -> None:
        try:
            await mirror_jobs(made, lambda event: None, clock=FakeClock().clock)
        except UsageError as error:
            messages.append(str(error))

    async with asyncio.TaskGroup() as group:

        def observe(event: Event) -> None:
            if isinstance(event, RunStarted | ImageEnded):
                group.create_task(second())

        await run(tmp_path, JOB, fake_registry, pushable_registry, observe, state=tmp_path / "known.db")
    assert messages
    assert all("is in use by" in message for message in messages)


async def test_the_gate_of_a_job_lets_its_images_have_their_tags(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "good bad")
    gate = "gate: [/bin/sh, -c, 'test $0 = good', '{tag}']"
    job = f"- {{name: apps, from: SOURCE/team/app, tags: [good, bad], {gate}}}\n"
    strict = "- {name: signed, from: SOURCE/team/app, to: TARGET/x, tags: [good], referrers: {require: a/b}}\n"
    report = await run(tmp_path, job + strict, fake_registry, pushable_registry)
    assert await tags(pushable_registry, "copies/app") == ["good"]
    assert [type(one.error) for one in report.whole.failed] == [NotAdmitted, NotAdmitted]
    assert report.status == 1


async def run_options(made: MirrorJobsOptions, observe: Any = None) -> JobsReport:
    return await mirror_jobs(made, observe or (lambda event: None), clock=FakeClock().clock)


def spoiled(registry: FakeRegistry) -> FakeRegistry:
    fill(registry, "hidden-team/app", "v1 v2 hidden-tag")
    fill(registry, "hidden-team/bad", "v1")
    registry.fail("/hidden-team/bad/tags/list", Status(403), times=None)
    registry.fail("/hidden-team/app/manifests/v2", Status(403), times=None)
    return registry


async def test_no_value_is_in_events_reports_and_lists(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    seen: list[Event] = []
    made = secret(tmp_path, spoiled(fake_registry), pushable_registry, report=tmp_path / "report.json")
    report = await run_options(made, seen.append)
    assert (report.status, len(report.jobs[0].refused), len(report.whole.failed)) == (1, 1, 2)
    assert set(await pushable_registry.content.tags("copies-hidden-team/app") or ()) == {"v1", "hidden-tag"}
    document = checked((tmp_path / "report.json").read_text())
    assert sorted(image["name"] for image in document["images"]) == [
        "${FROM}/${TEAM}/app:${TAG}",
        "${FROM}/${TEAM}/app:v1",
        "${FROM}/${TEAM}/app:v2",
        "${FROM}/${TEAM}/bad:latest",
    ]
    assert {image["target"].partition(":")[0] for image in document["images"]} == {
        "${TO}/copies-${TEAM}/app",
        "${TO}/copies-${TEAM}/bad",
    }
    texts = [repr(seen), repr(report), json.dumps(document), (tmp_path / "failed.txt").read_text()]
    texts += [f"{outcome.error} {outcome.error.advice}" for outcome in report.whole.outcomes if outcome.error]
    for text in texts:
        for value in (fake_registry.address, pushable_registry.address, "hidden-team", "hidden-tag"):
            assert value not in text


async def test_a_plan_has_the_text_of_the_file_and_is_copied_with_the_values(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "hidden-team/app", "v1 hidden-tag")
    fill(fake_registry, "hidden-team/bad", "v1 hidden-tag")
    plan = tmp_path / "plan.json"
    await run_options(secret(tmp_path, fake_registry, pushable_registry, plan_out=plan))
    text = plan.read_text()
    assert "hidden" not in text
    assert fake_registry.address not in text
    images = checked(text, "plan")["jobs"][0]["images"]
    assert {(image["source"], image["target"], image["tag"]) for image in images if image["tag"] != "v1"} == {
        (f"${{FROM}}/${{TEAM}}/{name}", f"${{TO}}/copies-${{TEAM}}/{name}", "${TAG}") for name in ("app", "bad")
    }
    report = await run_options(secret(tmp_path, fake_registry, pushable_registry, plan=plan))
    assert (report.status, len(report.whole.outcomes)) == (0, 4)
    assert await pushable_registry.content.tags("copies-hidden-team/app") == ["hidden-tag", "v1"]
    # With another value the file says another thing.
    made = secret(tmp_path, fake_registry, pushable_registry, plan=plan)
    other = {**made.environment.variables, "TEAM": "another-team"}
    seen: list[Event] = []
    fill(fake_registry, "another-team/app", "v1 hidden-tag")
    fill(fake_registry, "another-team/bad", "v1 hidden-tag")
    await run_options(replace(made, environment=replace(made.environment, variables=other)), seen.append)
    assert "another-team" not in repr(seen)
    plan.write_text(text.replace("${TEAM}/app", "elsewhere/app"))
    with pytest.raises(UsageError, match=r"does not copy \$\{FROM\}/elsewhere/app to") as raised:
        await run_options(secret(tmp_path, fake_registry, pushable_registry, plan=plan))
    assert "hidden" not in str(raised.value)


async def test_a_wrong_file_names_no_value(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    made = secret(tmp_path, fake_registry, pushable_registry)
    text = made.config.read_text()
    made.config.write_text(text.replace("${TEAM}/bad", "other/app"))
    with pytest.raises(UsageError, match=r"\$\{FROM\}/other/app would be \$\{TO\}/copies-\$\{TEAM\}/app, as"):
        await run_options(made)


async def test_the_outputs_of_a_file_are_written_unless_others_are_named(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fake_registry.fail("/manifests/", Status(404), times=None)
    made = options(tmp_path, "- {name: a, from: SOURCE/team/app, tags: [x]}\n", fake_registry, pushable_registry)
    made.config.write_text(f"report: {{json: r.json, failed: f.txt}}\n{made.config.read_text()}")
    await mirror_jobs(replace(made, failed=DEFAULT_FAILED), clock=FakeClock().clock)
    assert checked((tmp_path / "r.json").read_text())["totals"]["failed"] == 1
    assert (tmp_path / "f.txt").exists()
    (tmp_path / "f.txt").unlink()
    await mirror_jobs(replace(made, failed=tmp_path / "own.txt"), clock=FakeClock().clock)
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["own.txt"]


async def test_a_job_may_have_credentials_of_its_own(tmp_path: Path) -> None:
    logins = {"one": Basic({"me": "one"}), "two": Basic({"me": "two"})}
    async with fake_registry(auth=logins["one"]) as one, fake_registry(auth=logins["two"], pushable=True) as two:
        for registry in (one, two):
            fill(registry, "team/app", "v1 v2")
        entry = {name: {"auth": base64.b64encode(f"me:{name}".encode()).decode()} for name in logins}
        for name in ("first", "second"):
            # The second job has no login for its source.
            auths = {two.address: entry["two"]} | ({one.address: entry["one"]} if name == "first" else {})
            (tmp_path / f"{name}.json").write_text(json.dumps({"auths": auths}))
        jobs = "".join(
            f"- {{name: {name}, from: SOURCE/team/app, tags: 'v*', to: 'TARGET/{name}', credentials: {name}.json}}\n"
            for name in ("first", "second")
        )
        report = await run(tmp_path, jobs, one, two)
        assert (await tags(two, "first"), await tags(two, "second")) == (["v1", "v2"], [])
    first, second = report.jobs
    assert (first.ok, second.ok, report.status) == (True, False, 1)
    assert isinstance(second.choices[0].error, Unauthorized)


async def test_a_file_says_which_registries_are_harbors_and_what_their_projects_are(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1.0.0")
    pushable_registry.harbor = harbor = Harbor({})
    pushable_registry.auth = Basic(dict(harbor.users))
    login = replace(SETTINGS, username="admin", password=PASSWORD)
    environment = Environment(registries=SETTINGS, destinations=login)
    file = JOB + "registries: {TARGET: {create: harbor, public: true, requests: 2}}\n"
    report = await run(tmp_path, file, fake_registry, pushable_registry, environment=environment, harbor_https=False)
    assert report.status == 0, report.whole.failed
    assert harbor.projects == {"copies": {"public": "true"}}


async def test_a_shard_asks_for_the_tags_of_its_repositories_alone(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    for name in "ab":
        fill(fake_registry, f"team/{name}", "v1")
    (tmp_path / "list.txt").write_text(f"{fake_registry.address}/team/a:v1\n")
    jobs = "- {name: apps, from: [SOURCE/team/a, SOURCE/team/b]}\n- {name: listed, list: list.txt}\n"
    mine = next(number for number in range(2) if f"{pushable_registry.address}/copies/a" in Shard(number, 2))
    plan = tmp_path / "plan.json"
    assert (await run(tmp_path, jobs, fake_registry, pushable_registry, plan_out=plan)).status == 0
    fake_registry.requests.clear()
    other = await run(tmp_path, jobs, fake_registry, pushable_registry, shard=f"{1 - mine}/2", only=["listed"])
    assert (other.status, other.whole.outcomes, fake_registry.requests) == (0, (), [])
    assert (await run(tmp_path, jobs, fake_registry, pushable_registry, shard=f"{mine}/2", only=["apps"])).status == 0
    listed = {name: bool(fake_registry.asked(f"/team/{name}/tags/list")) for name in "ab"}
    assert listed == {name: f"{pushable_registry.address}/copies/{name}" in Shard(mine, 2) for name in "ab"}
    names = [
        outcome.entry.target.name
        for number in range(2)
        for outcome in (
            await run(tmp_path, jobs, fake_registry, pushable_registry, plan=plan, shard=f"{number}/2", only=["apps"])
        ).whole.outcomes
    ]
    assert sorted(names) == [f"{pushable_registry.address}/copies/{name}" for name in "ab"]
