"""Two jobs that want different images under one name are refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.engine.jobs.run import mirror_jobs
from hangar_async.errors import UsageError
from tests.engine.jobs.rig import fill, options
from tests.fakes.clock import FakeClock
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry

LISTED = "- {name: one, list: one.txt}\n"
SECOND_LIST = "- {name: two, list: two.txt}\n"
FROM = "- {name: two, from: SOURCE/team/other, to: TARGET/copies/app}\n"
UNCHANGING = "- {name: two, from: SOURCE/team/other, to: TARGET/copies/app, tags: {immutable: '*'}}\n"


async def run(directory: Path, jobs: str, source: FakeRegistry, target: FakeRegistry) -> int:
    for name, repository in (("one", "app"), ("two", "other")):
        line = f"{source.address}/team/{repository} {target.address}/copies/app v1\n"
        (directory / f"{name}.txt").write_text(line)
    made = options(directory, jobs, source, target)
    return (await mirror_jobs(made, clock=FakeClock().clock)).status


@pytest.mark.parametrize("second", [SECOND_LIST, FROM, UNCHANGING])
async def test_a_line_and_another_job_that_want_one_name(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, second: str
) -> None:
    fill(fake_registry, "team/app", "v1")
    fill(fake_registry, "team/other", "v1")
    pushable_registry.add("copies/app:v1", small("there"))
    with pytest.raises(UsageError, match=r"job one, line 1 of \S+one\.txt, and job two.* would both be \S+app:v1, and"):
        await run(tmp_path, LISTED + second, fake_registry, pushable_registry)
    assert {request.method for request in pushable_registry.requests} <= {"GET", "HEAD"}


@pytest.mark.parametrize("tags", ["v1", ""])
async def test_images_of_one_digest_are_one_and_one_that_is_not_there_fails(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, tags: str
) -> None:
    fill(fake_registry, "team/app", "v1")
    for tag in tags.split():
        fake_registry.add(f"team/other:{tag}", small("team/app"))
    status = await run(tmp_path, LISTED + SECOND_LIST, fake_registry, pushable_registry)
    assert status == (0 if tags else 1)
    assert await pushable_registry.content.tags("copies/app") == ["v1"]


async def test_a_second_repository_of_one_name_is_found_by_its_pattern(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1")
    fill(fake_registry, "team/other", "v1")
    jobs = "- {name: two, from: SOURCE/team/*, to: TARGET/copies/app}\n"
    with pytest.raises(UsageError, match=r"job two: \S+/team/app and \S+/team/other would both be"):
        await run(tmp_path, jobs, fake_registry, pushable_registry)
