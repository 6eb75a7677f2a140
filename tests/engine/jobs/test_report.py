"""The status of jobs tells what came of them."""

from __future__ import annotations

from dataclasses import replace

from hangar_async.engine.jobs.report import JobReport, JobsReport, RepositoryChoice
from hangar_async.engine.reports import MirrorOutcome, MirrorReport, MirrorState, Sent
from hangar_async.errors import NotFound
from hangar_async.imagelist import InvalidLine
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Reference

APP = Reference("in.local", "app")
GONE = NotFound("gone", host="in.local", status=404)


def copied(*states: MirrorState) -> MirrorReport:
    entry = MirrorEntry(1, "x", APP, APP)
    outcomes = tuple(MirrorOutcome(entry, state, error=GONE if state == "failed" else None) for state in states)
    return MirrorReport(outcomes, (), 0, Sent(uploaded_blobs=len(states)), 1.0)


def status(*jobs: JobReport, check: bool = False) -> int:
    return JobsReport(jobs, 1.0, check=check).status


REFUSED = RepositoryChoice(APP, APP, error=GONE)
IMMUTABLE = RepositoryChoice(APP, APP, ("1", "2"), immutable=frozenset("1"))
GOOD = JobReport("a", report=copied("copied", "unchanged"))


def test_the_status() -> None:
    assert status(GOOD, JobReport("b")) == 0
    assert status(GOOD, JobReport("b", report=copied("failed"))) == 1
    assert status(GOOD, JobReport("b", (REFUSED,))) == 1
    assert status(GOOD, JobReport("b", error=GONE)) == 1
    assert status(JobReport("b", (REFUSED,)), JobReport("c", error=GONE), JobReport("d", report=copied("failed"))) == 3
    assert status(JobReport("b", (IMMUTABLE,), report=copied("failed"))) == 1


def test_the_status_of_a_check() -> None:
    planned = JobReport("a", report=copied("planned"))
    assert (status(planned), status(planned, check=True), status(GOOD, check=True)) == (0, 4, 0)
    assert status(planned, JobReport("b", (REFUSED,)), check=True) == 1


def test_the_lines_are_those_of_tags_that_are_asked_for() -> None:
    assert IMMUTABLE.lines == ("in.local/app in.local/app 2",)
    assert JobReport("a", (IMMUTABLE, REFUSED)).immutable == 1


def test_the_outcomes_that_need_no_request() -> None:
    (refused,) = REFUSED.outcomes
    assert (refused.state, refused.error, refused.name) == ("failed", GONE, "in.local/app:latest")
    assert refused.entry.text == "# in.local/app"
    (unchanged,) = IMMUTABLE.outcomes
    assert (unchanged.state, unchanged.name) == ("unchanged", "in.local/app:1")
    whole = JobsReport((JobReport("a", (REFUSED, IMMUTABLE), report=copied("copied")), GOOD), 1.0).whole
    assert [outcome.state for outcome in whole.outcomes] == ["failed", "unchanged", "copied", "copied", "unchanged"]


def test_the_sum_of_what_was_sent() -> None:
    assert (
        JobsReport((GOOD, JobReport("b"), JobReport("c", report=copied("copied"))), 1.0).whole.sent.uploaded_blobs == 3
    )


def test_the_images_of_a_job_that_broke_off_have_failed() -> None:
    entry = MirrorEntry(1, "app:1", APP, APP)
    whole = JobsReport((GOOD, JobReport("b", error=GONE, missed=(entry,))), 1.0).whole
    assert [(one.state, one.error) for one in whole.outcomes] == [
        ("copied", None),
        ("unchanged", None),
        ("failed", GONE),
    ]
    assert whole.outcomes[2].entry.text == "in.local/app in.local/app latest"


def test_the_sum_keeps_how_invalid_lines_count_and_whether_referrers_were_wanted() -> None:
    report = replace(copied("unchanged"), invalid=(InvalidLine("x", 1, "bad"),), lenient=True, with_referrers=True)
    jobs = JobsReport((JobReport("a", report=report), JobReport("b")), 1.0)
    assert (jobs.whole.status, jobs.whole.unlooked) == (0, 1)
    strict = replace(report, lenient=False, with_referrers=False)
    jobs = JobsReport((JobReport("a", report=strict),), 1.0)
    assert (jobs.whole.status, jobs.whole.unlooked) == (1, 0)
