"""The images that jobs choose are saved as those of a list."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions
from hangar_async.engine.events import Event, Notice
from hangar_async.engine.jobs.save import save_jobs
from hangar_async.engine.reports import Report
from hangar_async.errors import NotFound, UsageError
from tests.engine.jobs.rig import SETTINGS, fill, options, secret
from tests.engine.reporting.rig import checked
from tests.fakes.clock import FakeClock
from tests.fakes.registry import FakeRegistry

JOBS = """\
- {name: apps, from: SOURCE/team/app, tags: {match: 'v*', newest: 1}}
- {name: named, from: [SOURCE/team/app, SOURCE/team/other], tags: [v1, v2], referrers: all}
- {name: pinned, list: images.txt}
- {name: small, from: SOURCE/team/app, tags: v1, platforms: linux/amd64}
- {name: gone, from: SOURCE/team/none, tags: 'v*'}
"""


async def run(directory: Path, source: FakeRegistry, *only: str, **keywords: Any) -> Report:
    config = options(directory, JOBS, source, source).config
    (directory / "images.txt").write_text(f"{source.address}/team/app:main\n{source.address}/team/app:v2\n")
    environment = Environment(source_registry="unused.local", registries=SETTINGS)
    values: dict[str, Any] = {"images": (), "destination": directory / "out", "format": "dir", "cache": directory / "c"}
    made = SaveOptions(**{**values, "environment": environment, "jobs": 4, **keywords})
    return await save_jobs(made, config, only, clock=FakeClock().clock)


async def test_the_images_of_jobs_are_saved_once(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    fill(fake_registry, "team/app", "v1 v2 main")
    fill(fake_registry, "team/other", "v1 v2")
    report = await run(tmp_path, fake_registry, "apps", "named", "pinned")
    assert report.status == 0
    names = [outcome.name.partition("/")[2] for outcome in report.outcomes]
    assert names == ["team/app:v2", "team/app:v1", "team/other:v1", "team/other:v2", "team/app:main"]


async def test_platforms_are_those_of_the_jobs(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    fill(fake_registry, "team/app", "v1")
    report = await run(tmp_path, fake_registry, "small")
    image = report.outcomes[0].image
    assert image is not None
    assert [str(platform.platform) for platform in image.platforms] == ["linux/amd64"]
    with pytest.raises(
        UsageError, match="jobs apps and small want other platforms, referrers or credentials: save them one by one"
    ):
        await run(tmp_path, fake_registry, "apps", "small")


async def test_a_repository_that_cannot_be_listed_ends_the_run(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    fill(fake_registry, "team/app", "v1")
    with pytest.raises(NotFound, match="has no list of tags"):
        await run(tmp_path, fake_registry, "apps", "gone")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("field", ["gate: [cosign]", "referrers: {require: a/b}"])
async def test_jobs_that_judge_images_are_not_saved(fake_registry: FakeRegistry, tmp_path: Path, field: str) -> None:
    path = tmp_path / "strict.yaml"
    path.write_text(f"version: 1\njobs: [{{name: apps, from: r.io/x, to: t.io/x, {field}}}]\n")
    path.chmod(0o644)
    with pytest.raises(UsageError, match="job apps has a gate or requires referrers"):
        await save_jobs(SaveOptions(images=(), destination=tmp_path / "out.tar.gz", cache=tmp_path / "cache"), path)


async def test_a_save_of_jobs_names_no_value(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "hidden-team/app", "v1 hidden-tag")
    fill(fake_registry, "hidden-team/bad", "hidden-tag")
    made, seen = secret(tmp_path, fake_registry, pushable_registry), list[Event]()
    environment = Environment(registries=SETTINGS, variables=made.environment.variables)
    paths: dict[str, Any] = {
        "destination": tmp_path / "out",
        "cache": tmp_path / "c",
        "report": tmp_path / "report.json",
    }
    saving = SaveOptions(images=(), format="dir", environment=environment, **paths)
    report = await save_jobs(saving, made.config, observer=seen.append, clock=FakeClock().clock)
    assert report.status == 0
    assert not [event for event in seen if isinstance(event, Notice) and "hidden" in event.text]
    document = checked((tmp_path / "report.json").read_text())
    assert {image["name"] for image in document["images"]} == {
        "${FROM}/${TEAM}/app:v1",
        "${FROM}/${TEAM}/app:${TAG}",
        "${FROM}/${TEAM}/bad:${TAG}",
    }
    for text in (json.dumps(document), repr(seen), repr(report)):
        assert "hidden" not in text
        assert fake_registry.address not in text


@pytest.mark.parametrize("flag", ["destination", "failed", "report"])
@pytest.mark.parametrize("name", ["mirror.yaml", "images.txt"])
async def test_no_output_replaces_what_jobs_are_read_from(
    fake_registry: FakeRegistry, tmp_path: Path, flag: str, name: str
) -> None:
    fill(fake_registry, "team/app", "v1")
    with pytest.raises(UsageError, match=f"{name}(, which| is no)"):
        await run(tmp_path, fake_registry, "pinned", format="gzip", **{flag: tmp_path / name})
    assert not fake_registry.requests


async def test_a_report_replaces_no_job_file_in_json(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    config = tmp_path / "jobs.json"
    config.write_text(
        json.dumps(
            {"version": 1, "jobs": [{"name": "a", "from": "in.local/a", "to": "out.local/a"}]}, separators=(",", ":")
        )
    )
    made = SaveOptions(images=(), destination=tmp_path / "out.tar.gz", report=config)
    with pytest.raises(UsageError, match=r"would replace .*jobs\.json"):
        await save_jobs(made, config)


async def test_an_invalid_line_of_a_list_is_told_before_any_request(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1 v2 main")
    config = options(tmp_path, JOBS, fake_registry, fake_registry).config
    (tmp_path / "images.txt").write_text(f"{fake_registry.address}/team/app:main\none two\n")
    made = SaveOptions(images=(), destination=tmp_path / "out.tar.gz", environment=Environment(registries=SETTINGS))
    with pytest.raises(UsageError, match=r"images\.txt:2: 'one two' has 2 fields"):
        await save_jobs(made, config, ["apps", "pinned"])
    assert not fake_registry.requests
    told: list[Event] = []
    report = await save_jobs(replace(made, lenient=True), config, ["pinned"], told.append)
    assert report.status == 0
    assert any("images.txt:2" in event.text for event in told if isinstance(event, Notice))
