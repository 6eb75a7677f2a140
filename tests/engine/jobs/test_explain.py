"""A tag is explained for each job that has its repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.engine.jobs.explain import Explanation, explain_tag
from hangar_async.errors import NotFound, UsageError
from tests.engine.jobs.rig import fill, options, secret
from tests.fakes.registry import FakeRegistry

JOBS = """\
- {name: newest, from: SOURCE/team/app, tags: {match: 'v*', newest: 1}}
- {name: named, from: [SOURCE/team/app, SOURCE/team/other], tags: v1}
- {name: pinned, list: images.txt}
"""


async def explain(tag: str, directory: Path, source: FakeRegistry, target: FakeRegistry) -> dict[str, tuple[str, ...]]:
    made = options(directory, JOBS, source, target)
    (directory / "images.txt").write_text(f"{source.address}/team/app:v2\n{source.address}/team/other:v1\n")
    found: tuple[Explanation, ...] = await explain_tag(made, f"{source.address}/{tag}")
    return {one.job: one.lines for one in found}


async def test_a_tag_is_explained(fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    fill(fake_registry, "team/app", "v1 v2 main")
    found = await explain("team/app:v1", tmp_path, fake_registry, pushable_registry)
    assert found["newest"][-2:] == ("newest 1: falls: 1 newer versions are there of all", "not chosen")
    assert found["named"] == ("chosen: it is named",)
    assert found["pinned"] == ("not chosen: no line names it",)
    found = await explain("team/app:v2", tmp_path, fake_registry, pushable_registry)
    assert found["newest"][-1] == "chosen"
    assert found["named"] == ("not chosen: other tags are named",)
    assert found["pinned"] == (f"chosen: line 1 of {tmp_path / 'images.txt'} names it",)
    assert pushable_registry.requests == []
    assert "newest" not in await explain("team/other:v1", tmp_path, fake_registry, pushable_registry)


async def test_what_cannot_be_explained(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"no job of .*mirror.yaml has .*/team/none"):
        await explain("team/none:1", tmp_path, fake_registry, pushable_registry)
    with pytest.raises(UsageError, match=r"^--explain: "):
        await explain("team/app:", tmp_path, fake_registry, pushable_registry)
    with pytest.raises(NotFound, match="has no list of tags"):
        await explain("team/app:v1", tmp_path, fake_registry, pushable_registry)


async def test_an_explanation_names_no_value(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "hidden-team/app", "v1 hidden-tag")
    made = secret(tmp_path, fake_registry, pushable_registry)
    made.config.write_text(made.config.read_text().replace('match: "*"', 'match: "${TAG}*"'))
    found = await explain_tag(made, f"{fake_registry.address}/hidden-team/app:v1")
    assert "${TAG}*" in repr(found)
    assert "hidden" not in repr(found)
