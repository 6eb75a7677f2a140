"""A plan says what a run would copy, and is compared with the file before it is copied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hangar_async.engine.jobs import plan as plans
from hangar_async.engine.jobs.plan import (
    Plan,
    PlannedImage,
    PlannedJob,
    PlannedTag,
    check_plan,
    encode_plan,
    plan_schema,
    planned_deletions,
    planned_entries,
    read_plan,
)
from hangar_async.engine.jobs.report import JobReport, JobsReport, RepositoryChoice
from hangar_async.engine.outcomes import Need, PrunedTag
from hangar_async.engine.reports import MirrorOutcome, MirrorReport, Sent
from hangar_async.errors import NotFound, UsageError
from hangar_async.jobfile.read import parse
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Digest, Reference
from tests.engine.reporting.rig import DOCS, checked

DIGEST = Digest.of(b"x")
GONE = NotFound("gone", host="in.local", status=404)
FILE = """\
version: 1
jobs:
- {name: apps, from: ["in.local/team/*"], to: "out.local/x/{1}", prune: {}}
- {name: pinned, list: images.txt, prune: {}}
"""


def outcome(source: str, target: str, **keywords: Any) -> MirrorOutcome:
    entry = MirrorEntry(1, source, Reference.parse(source), Reference.parse(target))
    return MirrorOutcome(entry, **{"state": "planned", "source_digest": DIGEST, **keywords})


def report() -> JobsReport:
    need = Need(2, 500, 1, 9)
    same = MirrorEntry(1, "a", Reference("in.local", "a"), Reference("out.local", "a"))
    outcomes = (
        outcome("in.local/team/app:1", "out.local/x/app:1", need=need),
        outcome("in.local/team/app:2", "out.local/x/app:2", state="unchanged"),
        outcome("in.local/team/app:3", "out.local/x/app:3", state="kept"),
        outcome("in.local/team/app:4", "out.local/x/app:4", state="failed", error=GONE),
        outcome("in.local/team/app:5", "out.local/x/app:5", same_as=same),
    )
    refused = RepositoryChoice(Reference("in.local", "none"), Reference("out.local", "none"), error=GONE)
    immutable = RepositoryChoice(
        Reference("in.local", "b"), Reference("out.local", "b"), ("1",), immutable=frozenset("1")
    )
    pruned = (
        PrunedTag(Reference("out.local", "x/app", "0.9"), DIGEST, "planned"),
        PrunedTag(Reference("out.local", "x/app", "0.8"), DIGEST, "left", "another program has put it"),
    )
    jobs = JobReport("apps", (refused, immutable), MirrorReport(outcomes, (), 0, Sent(), 1.0), pruned=pruned)
    return JobsReport((jobs, JobReport("empty")), 1.0, dry=True)


def write(directory: Path, **changes: Any) -> Path:
    path = directory / "plan.json"
    document = json.loads(encode_plan(report(), Path("mirror.yaml")))
    document["jobs"] = document["jobs"][:1]
    document["jobs"][0]["images"][0].update(changes)
    path.write_text(json.dumps(document))
    return path


def entries(directory: Path, **changes: Any) -> dict[str, tuple[MirrorEntry, ...]]:
    path = write(directory, **changes)
    return planned_entries(read_plan(path), path, parse(FILE, directory / "mirror.yaml", {}), {})


def test_a_plan_is_written_and_read(tmp_path: Path) -> None:
    document = checked(encode_plan(report(), Path("mirror.yaml")), "plan")
    assert {key: document[key] for key in ("blobs", "bytes", "mounts", "requests", "config", "version")} == {
        "blobs": 2,
        "bytes": 500,
        "mounts": 1,
        "requests": 9,
        "config": "mirror.yaml",
        "version": 1,
    }
    job = document["jobs"][0]
    assert (job["unchanged"], job["kept"], len(job["images"])) == (2, 1, 1)
    assert [tag["tag"] for tag in job["deleted"]] == ["0.9"]
    assert [(tag["tag"], tag["reason"]) for tag in job["left"]] == [("0.8", "another program has put it")]
    assert job["failed"] == ["in.local/none: gone", "in.local/team/app:4: gone"]
    (entry,) = entries(tmp_path)["apps"]
    assert str(entry.source) == f"in.local/team/app:1@{DIGEST}"
    assert str(entry.target) == "out.local/x/app:1"


def test_the_published_schema_is_that_of_plans() -> None:
    """`json.dumps(plan_schema(), indent=2)` is the new one after a change."""
    assert json.loads((DOCS / "plan.schema.json").read_text()) == plan_schema()


@pytest.mark.parametrize("kind", [Plan, PlannedJob, PlannedImage, PlannedTag], ids=lambda kind: kind.__name__)
def test_each_field_is_on_the_page(kind: type[Any]) -> None:
    page = (DOCS / "jobs.md").read_text().partition("## Plans")[2].partition("## Save")[0]
    for field in kind.__struct_fields__:
        assert f"`{field}`" in page, field


def test_the_tags_that_a_plan_deletes(tmp_path: Path) -> None:
    path = write(tmp_path)
    plan, file = read_plan(path), parse(FILE, tmp_path / "mirror.yaml", {})
    assert planned_deletions(plan, file.jobs, {}) == {("apps", "out.local/x/app", "0.9", str(DIGEST))}
    assert planned_deletions(plan, file.only(["pinned"]), {}) == set()
    keeping = parse(FILE.replace(", prune: {}", ""), tmp_path / "mirror.yaml", {})
    with pytest.raises(UsageError, match=r"job apps of .*mirror.yaml deletes no tags: make another plan"):
        planned_entries(plan, path, keeping, {})


def test_a_plan_without_deletions_is_read_too(tmp_path: Path) -> None:
    path = write(tmp_path)
    document = json.loads(path.read_text())
    for name in ("deleted", "left"):
        del document["jobs"][0][name]
    path.write_text(json.dumps(document))
    assert read_plan(path).jobs[0].deleted == []


def test_an_image_of_a_digest_alone(tmp_path: Path) -> None:
    (entry,) = entries(tmp_path, tag=None)["apps"]
    assert (entry.source.tag, entry.target.digest) == (None, DIGEST)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"target": "out.local/y/app"},
            "job apps of .* does not copy in.local/team/app to out.local/y/app: make another",
        ),
        ({"source": "in.local/other/app"}, "does not copy in.local/other/app"),
        ({"source": "in.local/Team"}, "is no plan of this version: 'Team' has upper-case letters"),
        ({"digest": "sha256:1"}, "is no plan of this version"),
        ({"blobs": "many"}, "is no plan of this version: Expected `int`"),
    ],
)
def test_an_image_that_the_file_does_not_copy(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        entries(tmp_path, **changes)


def test_a_job_that_the_file_has_not_and_one_with_a_list(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace('"apps"', '"others"'))
    file = parse(FILE, tmp_path / "mirror.yaml", {})
    with pytest.raises(UsageError, match=r"has a job others, which .*mirror.yaml has not: make another plan"):
        planned_entries(read_plan(path), path, file, {})
    path.write_text(path.read_text().replace('"others"', '"pinned"'))
    (tmp_path / "images.txt").write_text("in.local/team/app out.local/x/app 7\n")
    assert len(planned_entries(read_plan(path), path, file, {})["pinned"]) == 1
    (tmp_path / "images.txt").write_text("in.local/team/app out.local/z/app 7\n")
    with pytest.raises(UsageError, match="does not copy"):
        planned_entries(read_plan(path), path, file, {})


@pytest.mark.parametrize("text", ["", "{}", '{"kind": "x", "version": 1}', "[" * 10_000])
def test_what_is_no_plan(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(UsageError, match="is no plan of this version"):
        read_plan(tmp_path / "x")
    with pytest.raises(UsageError, match=r"cannot read the plan .*none: No such file"):
        read_plan(tmp_path / "none")


def test_a_plan_has_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_LARGEST", 100)
    (tmp_path / "x").write_bytes(encode_plan(report(), Path("mirror.yaml")))
    with pytest.raises(UsageError, match="x is no plan of this version: it has more than 100 bytes"):
        read_plan(tmp_path / "x")


def test_a_plan_replaces_nothing_but_a_plan(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(encode_plan(report(), Path("mirror.yaml")))
    assert check_plan(path, [None]) == path
    (tmp_path / "notes").write_text("dear diary")
    with pytest.raises(UsageError, match=r"notes is no plan and would be lost: write another name \(--plan-out\)"):
        check_plan(tmp_path / "notes", [])
    with pytest.raises(UsageError, match="is a directory"):
        check_plan(tmp_path, [])
    with pytest.raises(UsageError, match="leave room for temporary names"):
        check_plan(tmp_path / ("x" * 250), [])
    with pytest.raises(UsageError):
        check_plan(path, [path])
