"""The lines after jobs tell what each of them did, and a dry run why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hangar_async.cli.view.jobs import after_jobs, explained, next_jobs, next_save
from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.engine.jobs.explain import Explanation
from hangar_async.engine.jobs.report import JobReport, JobsReport, RepositoryChoice
from hangar_async.engine.outcomes import PrunedTag
from hangar_async.engine.reports import MirrorOutcome, MirrorReport, MirrorState, Report, Sent, Traffic
from hangar_async.errors import NotFound
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Digest, Reference
from hangar_async.tags.rules import select
from tests.tags.rig import NOW, rules_of

APP = Reference("in.local", "app")
TARGET = Reference("out.local", "app")
GONE = NotFound("gone", host="in.local", status=404)
OPTIONS = MirrorJobsOptions(config=Path("mirror.yaml"))


def job(name: str, *states: MirrorState) -> JobReport:
    entry = MirrorEntry(7, "in.local/app:1", Reference("in.local", "app", "1"), Reference("out.local", "app", "1"))
    outcomes = tuple(MirrorOutcome(entry, state, error=GONE if state == "failed" else None) for state in states)
    selection = select(rules_of(match="v*", newest=1), ["v1", "v2", "v3", "v4", "v5", "main"], NOW)
    choice = RepositoryChoice(APP, TARGET, selection.chosen, selection, frozenset({"v5"}))
    return JobReport(name, (choice,), MirrorReport(outcomes, (), 0, Sent(), 1.0))


REFUSED = JobReport("refused", (RepositoryChoice(APP, TARGET, error=GONE),))


def test_the_summary_of_a_run() -> None:
    report = JobsReport((job("a", "copied", "unchanged", "kept"), job("b", "failed"), REFUSED), 2.0)
    rows = list(after_jobs(report, OPTIONS))
    assert [text for label, text in rows if label == "job"] == [
        "a: 1 copied, 1 unchanged, 1 kept although they differ, 1 immutable",
        "b: 1 failed, 1 immutable",
        "refused: no image",
    ]
    assert [text for label, text in rows if label == "failed"] == [
        "line 7: in.local/app:1: not found",
        "in.local/app: not found",
    ]
    assert ("time", "2.0 s") in rows
    assert not [row for row in rows if row[0] == "tags"]


def test_a_dry_run_tells_how_many_tags_fell_at_each_filter() -> None:
    rows = list(after_jobs(JobsReport((job("a", "planned"),), 2.0, dry=True, check=True), OPTIONS))
    begin = rows.index(("tags", "in.local/app: 1 of 6 chosen"))
    assert rows[begin + 1 : begin + 4] == [
        ("", "1 tag fell at match v*: main"),
        ("", "4 tags fell at newest 1: v1, v2, v3, ..."),
        ("image", "in.local/app:1 -> out.local/app:1"),
    ]
    assert rows[-1] == ("check", "images differ")
    assert list(after_jobs(JobsReport((job("a", "unchanged"),), 2.0, dry=True, check=True), OPTIONS))[-1][1] == (
        "nothing differs"
    )
    failed = JobsReport((job("a", "failed"),), 2.0, dry=True, check=True)
    assert list(after_jobs(failed, OPTIONS))[-1] == ("check", "nothing differs of what could be asked for")


def test_a_tag_that_is_missing_is_not_counted_as_one_of_the_list() -> None:
    selection = select(rules_of(match="v*", also="v2 gone"), ["v1", "v2"], NOW)
    choice = RepositoryChoice(APP, TARGET, (*selection.chosen, *selection.missing), selection)
    rows = list(after_jobs(JobsReport((JobReport("a", (choice,)),), 2.0, dry=True), OPTIONS))
    assert rows[1:3] == [("tags", "in.local/app: 2 of 2 chosen"), ("", "1 tag not there: gone")]


def test_a_plan_is_named_with_its_sums() -> None:
    rows = list(after_jobs(JobsReport((job("a", "planned"),), 2.0, dry=True), replace(OPTIONS, plan_out=Path("p"))))
    assert ("plan", "p") in rows
    assert ("would send", "0 blobs, 0 B; 0 mounted") in rows


def test_tags_that_were_deleted_and_the_reasons_of_those_that_stay() -> None:
    tags = [PrunedTag(replace(TARGET, tag=f"v{number}"), Digest.of(b"x"), "deleted") for number in range(4)]
    tags += [PrunedTag(replace(TARGET, tag=f"v{number}"), Digest.of(b"x"), "left", "it is mine") for number in (5, 6)]
    pruned = replace(job("a", "copied"), pruned=tuple(tags))
    rows = list(after_jobs(JobsReport((pruned,), 2.0), OPTIONS))
    assert ("deleted", "4 tags of out.local/app, v0, v1, v2, ...") in rows
    assert ("not deleted", "2 tags of out.local/app, v5, v6: it is mine") in rows
    planned = replace(pruned, pruned=tuple(replace(tag, state="planned") for tag in tags[:4]))
    rows = list(after_jobs(JobsReport((planned,), 2.0, dry=True), OPTIONS))
    assert ("would delete", "4 tags of out.local/app, v0, v1, v2, v3") in rows


def test_a_job_that_fails_as_a_whole() -> None:
    rows = list(after_jobs(JobsReport((JobReport("a", error=GONE),), 2.0), OPTIONS))
    assert rows[1][0] == "failed"
    assert rows[1][1].startswith("gone")


def test_the_next_step_runs_the_jobs_that_failed() -> None:
    jobs = (job("a", "copied"), job("b", "failed"), REFUSED)
    rows = list(next_jobs(JobsReport(jobs, 1.0), OPTIONS))
    assert rows[1] == ("", "hangar-async mirror -c mirror.yaml --only b --only refused")
    assert list(next_jobs(JobsReport(jobs[1:], 1.0), OPTIONS))[1][1] == "hangar-async mirror -c mirror.yaml"
    assert list(next_jobs(JobsReport(jobs[:1], 1.0), OPTIONS)) == []
    assert list(next_jobs(JobsReport(jobs, 1.0, dry=True), OPTIONS)) == []


def test_the_next_step_of_a_save_is_the_same_command() -> None:
    report = Report(outcomes=(), invalid=(), duplicates=0, traffic=Traffic(), seconds=1.0, output=None)
    assert list(next_save(report, None)) == []
    rows = list(next_save(replace(report, failed_list=Path("save-failed.txt")), None))
    assert rows == [("next", "the failed images are in save-failed.txt; the same command tries them again")]


def test_reasons() -> None:
    assert list(explained([Explanation("a", ("match v*: passes", "chosen")), Explanation("b", ("chosen",))])) == [
        ("job", "a"),
        ("", "match v*: passes"),
        ("", "chosen"),
        ("job", "b"),
        ("", "chosen"),
    ]
