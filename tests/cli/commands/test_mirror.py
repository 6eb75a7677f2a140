"""`mirror` and `mirror-validate` as a person runs them."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Program
from tests.cli.programs import command, environment
from tests.cli.site import Done, call
from tests.engine.reporting.rig import checked
from tests.failed_list import names_in
from tests.fakes.faults import PullQuota, Status
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry


def fill(registry: FakeRegistry) -> FakeRegistry:
    """Give a registry two images."""
    for name in ("team/one", "team/two"):
        registry.add(f"{name}:1", small(name))
    return registry


async def test_a_list_of_both_forms_is_copied_and_compared(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    source = fill(fake_registry)
    target = pushable_registry.address
    lines = f"# a comment\n{source.address}/team/one\t{target}/x/one 1\n{source.address}/team/two:1\n"
    (tmp_path / "list.txt").write_text(lines)
    flags = ("-f", "list.txt", "-d", target, "-j", "4")
    rows = (await call(tmp_path, "mirror", *flags)).rows()
    assert rows["copied"] == ["2 images, 2 platforms"]
    again = (await call(tmp_path, "mirror", *flags)).rows()
    assert again["unchanged"] == ["2 images, there already"]
    assert "sent" in again
    done = await call(tmp_path, "mirror-validate", *flags)
    assert (done.status, done.rows()["same"]) == (0, ["2 of 2 images"])
    assert await call(tmp_path, "mirror-validate", *flags, "--quiet") == Done(0, "", "")


async def test_the_next_step_copies_the_failed_images(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    source = fill(fake_registry)
    names = [f"{source.address}/team/{name}:1" for name in ("one", "two")]
    source.fail("/team/two/manifests", Status(403), times=None)
    to = f"{pushable_registry.address}/{{name}}"
    done = await call(tmp_path, "mirror", *names, "--to", to, "-a", "amd64", "--state", "a state")
    assert done.status == 1
    assert names_in(tmp_path / "mirror-failed.txt") == [names[1]]
    source.faults.rules.clear()
    words = shlex.split(done.rows()["next"][1])[1:]
    assert words[-2:] == ["--state", "a state"]
    again = await call(tmp_path, *words)
    assert again.status == 0
    assert await pushable_registry.content.resolve("two", "1") is not None


async def test_a_dry_run_shows_what_would_be_copied(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    source = fill(fake_registry)
    name = f"{source.address}/team/one:1"
    rows = (await call(tmp_path, "mirror", name, "-d", pushable_registry.address, "--dry-run")).rows()
    assert rows["would copy"] == ["1 image, 1 platform"]
    assert rows["image"] == [f"{name} -> {pushable_registry.address}/team/one:1"]
    assert {request.method for request in pushable_registry.requests} <= {"GET", "HEAD"}


async def test_a_quota_is_shown_and_kept(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    source = fill(fake_registry)
    source.fail("/manifests/", PullQuota(limit=100, pulls=87), times=None)
    names = [f"{source.address}/team/{name}:1" for name in ("one", "two")]
    done = await call(tmp_path, "mirror", *names, "-d", pushable_registry.address, "--keep-quota", "12")
    rows = done.rows()
    assert done.status == 1
    assert rows["quota"] == [f"{source.address}: 12 of 100 requests within 6 h 00 min are left"]
    assert "12 of 100 pulls left, which keep-quota leaves to others; its window ends at" in rows["failed"][1]
    assert shlex.split(rows["next"][1])[-2:] == ["--keep-quota", "12"]


async def test_a_tag_of_another_image_may_stay(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    source = fill(fake_registry)
    name = f"{source.address}/team/one:1"
    flags = (name, "-d", pushable_registry.address, "--overwrite", "never")
    assert (await call(tmp_path, "mirror", *flags)).rows()["copied"] == ["1 image, 1 platform"]
    source.add("team/one:1", small("moved"))
    done = await call(tmp_path, "mirror", *flags)
    assert done.status == 0
    assert done.rows()["kept"] == ["1 image: another one has the tag there, and stays"]


JOBS = """\
version: 1
jobs:
- name: teams
  from: [SOURCE/team/one, SOURCE/team/two]
  to: "${TARGET}/copies/{name}"
  tags: {match: "*", exclude: old}
"""


def write_jobs(directory: Path, source: FakeRegistry) -> None:
    """Write a job file for two repositories of a registry, and give one of them a tag that is left out."""
    fill(source).add("team/one:old", small("team/one"))
    (directory / "mirror.yaml").write_text(JOBS.replace("SOURCE", source.address))


async def test_jobs_of_a_file(fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    write_jobs(tmp_path, fake_registry)
    env = {"TARGET": pushable_registry.address}
    found = await call(tmp_path, "mirror", "-c", "mirror.yaml", "--check", **env)
    assert (found.status, found.rows()["check"]) == (4, ["images differ"])
    assert found.rows()["tags"][1] == "1 tag fell at exclude old: old"
    planned = (await call(tmp_path, "mirror", "-c", "mirror.yaml", "--plan-out", "plan.json", **env)).rows()
    assert planned["plan"] == ["plan.json"]
    rows = (await call(tmp_path, "mirror", "-c", "mirror.yaml", "--only", "teams", "--plan", "plan.json", **env)).rows()
    assert rows["job"] == ["teams: 2 copied"]
    assert await pushable_registry.content.tags("copies/one") == ["1"]
    again = await call(tmp_path, "mirror", "-c", "mirror.yaml", "--check", "--quiet", **env)
    assert again == Done(0, "", "")
    told = await call(
        tmp_path, "mirror", "-c", "mirror.yaml", "--explain", f"{fake_registry.address}/team/one:old", **env
    )
    assert told.rows()["job"][-2:] == ["exclude old: falls: a pattern matches it", "not chosen"]


async def test_no_value_of_a_variable_is_in_the_output_or_the_log(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    write_jobs(tmp_path, fake_registry)
    target = pushable_registry.address
    flags = ("mirror", "-c", "mirror.yaml", "--debug")
    for more in (["--dry-run", "--json"], ["--log-format", "json"]):
        done = await call(tmp_path, *flags, *more, TARGET=target)
        assert done.err
        assert target not in done.out + done.err
    pushable_registry.fail("/manifests/", Status(403), times=None)
    fill(fake_registry).add("team/one:2", small("new"))
    done = await call(tmp_path, *flags, TARGET=target)
    assert done.status == 3
    assert "${TARGET}" in done.out
    assert target not in done.out + done.err + (tmp_path / "mirror-failed.txt").read_text()


async def test_the_plan_of_a_dry_run_is_on_standard_output(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    write_jobs(tmp_path, fake_registry)
    flags = ("mirror", "-c", "mirror.yaml", "--dry-run", "--json")
    done = await call(tmp_path, *flags, TARGET=pushable_registry.address)
    assert done.status == 0
    assert len(checked(done.out, "plan")["jobs"][0]["images"]) == 2
    assert "would send" in done.err


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("-c", "mirror.yaml"), r"mirror.yaml:5:7: \$\{TARGET\} is not set in the environment"),
        (("-c", "none.yaml"), r"cannot read the job file none.yaml: No such file"),
        (("-c", "mirror.yaml", "nginx"), r"IMAGE stands in the job file: leave it out beside --config"),
        (("-c", "mirror.yaml", "--watch", "--check"), r"--check is for a single run: leave it out beside --watch"),
        (("-c", "mirror.yaml", "--metrics", "1"), r"--metrics has a meaning beside --watch alone"),
        (("nginx", "--watch"), r"--watch needs a job file: write --config FILE too"),
        (("nginx", "--only", "a"), r"--only needs a job file: write --config FILE too"),
        (("nginx", "--prune-anyway"), r"--prune-anyway needs a job file: write --config FILE too"),
        (("-c", "mirror.yaml", "--json"), r"--json writes the plan of a dry run: write --dry-run beside it"),
    ],
)
def test_a_wrong_job_file_is_an_error(program: Program, tmp_path: Path, flags: tuple[str, ...], line: str) -> None:
    (tmp_path / "mirror.yaml").write_text(JOBS)
    done = program("mirror", *flags)
    assert (done.status, done.out) == (2, "")
    assert re.search(line, done.err), done.err


def test_the_schema_of_job_files(program: Program) -> None:
    done = program("mirror", "--schema")
    assert done.status == 0
    assert json.loads(done.out)["title"] == "hangar-async job file"


@pytest.mark.parametrize("command", ["mirror", "mirror-validate"])
@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ((), r"name a list of images with --file, or images: one of the two"),
        (("-f", "list.txt", "nginx"), r"name a list of images with --file, or images: one of the two"),
        (("nginx",), r"command line names no image: its one line is invalid; .* has no destination"),
        (("nginx", "-d", "reg.local", "--to", "reg.local/{name}"), r"write one of them"),
        (("nginx", "-d", "reg.local", "--keep-quota", "-1"), r"--keep-quota -1: write 0 or more|no such option"),
        (("nginx", "-d", "reg.local", "--index", "some"), r"unknown word 'some' \(--index\)|no such option: --index"),
    ],
)
def test_a_wrong_command_line_is_an_error(program: Program, command: str, flags: tuple[str, ...], line: str) -> None:
    done = program(command, *flags)
    assert (done.status, done.out) == (2, "")
    assert re.search(line, done.err), done.err


async def test_a_report_has_failed_images_too_and_the_summary_goes_to_standard_error(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    names = [f"{fill(fake_registry).address}/team/{name}:1" for name in ("one", "none")]
    secret = {"HTTPS_PROXY": "http://me:hunter2@proxy.invalid:1", "NO_PROXY": "127.0.0.1"}
    done = await call(tmp_path, "mirror", *names, "-d", f"{pushable_registry.address}/x", "--report", "-", **secret)
    document = checked(done.out)
    assert done.status == 1
    assert [one["status"] for one in document["images"]] == ["done", "failed"]
    assert "hunter2" not in done.out
    for label in ("copied", "failed", "next"):
        assert f"\n{label:<10} " in done.err


async def test_standard_error_has_events_in_json_on_request(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    names = [f"{fill(fake_registry).address}/team/{name}:1" for name in ("one", "none")]
    done = await call(tmp_path, "mirror", *names, "-d", f"{pushable_registry.address}/x", "--log-format", "json")
    lines = [checked(line, "events") for line in done.err.splitlines()]
    assert (done.status, done.rows()["copied"]) == (1, ["1 of 2 images, 1 platform; 1 failed"])
    assert lines[0]["event"] == "run-started"
    ended = {line["image"]["text"]: line["image"]["status"] for line in lines if line["event"] == "image-ended"}
    assert ended == {names[0]: "done", names[1]: "failed"}
    assert (lines[-1]["event"], lines[-1]["status"], lines[-1]["totals"]["failed"]) == ("run-ended", 1, 1)


async def test_jobs_are_watched_until_a_signal(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    pytest.importorskip("prometheus_client")
    fill(fake_registry)
    (tmp_path / "mirror.yaml").write_text(
        "version: 1\njobs:\n- {name: one, every: 1h, from: '${SOURCE}/team/one', tags: ['1'], "
        f"to: '{pushable_registry.address}/one', referrers: none}}\n"
    )
    flags = ("mirror", "-c", "mirror.yaml", "--watch", "--metrics", "0", "--debug")
    process = await asyncio.create_subprocess_exec(
        *command(*flags), cwd=tmp_path, env=environment(tmp_path, SOURCE=fake_registry.address), stdout=-1, stderr=-1
    )
    assert process.stderr is not None
    lines: list[str] = []

    async def until(text: str) -> None:
        assert process.stderr is not None
        while text not in (lines[-1] if lines else ""):
            lines.append((await process.stderr.readline()).decode())
            assert lines[-1], lines

    async with asyncio.timeout(60):
        await until("next     job one at ")
        await until("job      one has ended with status 0")
        (tmp_path / "mirror.yaml").write_text("version: 2")
        process.send_signal(signal.SIGHUP)
        await until("the jobs of the last reading stay in use")
        process.send_signal(signal.SIGTERM)
        rest = (await process.communicate())[1].decode()
    log = "".join(lines) + rest
    assert process.returncode == 0
    assert "terminated: what was copied stays at its registry" in rest
    assert fake_registry.address not in log
    assert "${SOURCE}/team/one:1" in log
    assert pushable_registry.asked("/one/manifests/1")


async def test_shards_and_their_joined_report(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    source = fill(fake_registry)
    names = [f"{source.address}/team/{name}:1" for name in ("one", "two")]
    flags = (*names, "-d", pushable_registry.address, "--shards", "2")
    reports = [f"{number}.json" for number in range(2)]
    for number, report in enumerate(reports):
        done = await call(tmp_path, "mirror", *flags, "--report", report, JOB_COMPLETION_INDEX=str(number))
        assert done.status == 0, done
    assert await call(tmp_path, "mirror-validate", *flags, "--quiet", JOB_COMPLETION_INDEX="1") == Done(0, "", "")
    assert (await call(tmp_path, "report", "merge", *reports, "-o", "all.json")).status == 0
    document = json.loads((tmp_path / "all.json").read_text())
    assert sorted(image["name"] for image in document["images"]) == names
    assert (document["end"], document["totals"]["done"], len(document["runs"])) == ("complete", 2, 2)
