"""Reports of shards, and of runs that tried failed images again, become one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from hangar_async.engine.reporting.document import make_document, not_reached, record_of
from hangar_async.engine.reporting.joining import failed_lines, join_reports
from hangar_async.engine.reporting.records import ImageRecord, InvalidRecord, ReportDocument, TagRecord
from hangar_async.errors import StorageError, UsageError
from tests.engine.reporting.rig import checked
from tests.engine.reporting.samples import DONE, FAILED

STATES = ("done", "unchanged", "failed", "skipped", "not reached")


def record(name: str, status: Any, **fields: Any) -> ImageRecord:
    """A record of an image `name`; "not reached" and "kept" are a status here."""
    values = {"name": name, "text": name, "bytes": 10, "seconds": 1.0, **fields}
    if status == "not reached":
        return replace(not_reached(record_of(FAILED)), **values)
    if status in ("skipped", "kept"):
        values |= {"reason": "dry run" if status == "skipped" else "kept"}
    status = "skipped" if status == "kept" else status
    return replace(record_of(FAILED if status == "failed" else DONE), status=status, **values)


def report(minute: int, *images: ImageRecord, command: str = "mirror", **fields: Any) -> ReportDocument:
    started = datetime(2026, 1, 31, 12, minute, tzinfo=UTC)
    sums = {"uploaded_bytes": sum(one.bytes for one in images), "uploaded_blobs": 1}
    return replace(make_document(command, None, started, 60.0, images, sums), **fields)


def states(document: ReportDocument) -> dict[str, str]:
    return {one.name: one.status for one in document.images}


def test_shards_are_joined_in_the_order_of_their_starts() -> None:
    first, second = report(1, record("a", "done")), report(2, record("b", "failed"), record("c", "unchanged"))
    document = join_reports([second, first])
    checked(str(document))
    assert list(states(document).items()) == [("a", "done"), ("b", "failed"), ("c", "unchanged")]
    assert (document.started, document.seconds, document.end) == (first.started, 120.0, "complete")
    assert document.runs == [first.run, second.run]
    totals = document.totals
    assert (totals.images, totals.done, totals.failed, totals.blobs, totals.bytes) == (
        3,
        1,
        1,
        2,
        20 + second.images[0].bytes,
    )


@pytest.mark.parametrize(
    ("earlier", "later", "joined"),
    [
        ("failed", "done", "done"),
        ("failed", "unchanged", "unchanged"),
        ("failed", "failed", "failed"),
        # The tag may have moved since: its present image is not there.
        ("done", "failed", "failed"),
        # These runs brought it.
        ("done", "unchanged", "done"),
        ("unchanged", "done", "done"),
        # Nothing was done for it later.
        ("done", "skipped", "done"),
        # Another image has the tag, and stays.
        ("failed", "kept", "skipped"),
        ("failed", "not reached", "failed"),
        ("not reached", "done", "done"),
        ("skipped", "not reached", "skipped"),
        ("not reached", "not reached", "skipped"),
    ],
)
def test_the_later_word_about_an_image_counts_where_something_was_done(earlier: str, later: str, joined: str) -> None:
    one = record("a", earlier, line=7, text="a in the first list", bytes=10, seconds=1.0)
    other = record("a", later, line=1, text="a in its list of failed images", bytes=5, seconds=0.5)
    [image] = join_reports([report(2, other), report(1, one)]).images
    assert image.status == joined
    assert (image.line, image.text, image.bytes, image.seconds) == (7, "a in the first list", 15, 1.5)


def test_an_image_that_another_run_changed_is_unchanged() -> None:
    one, other = record("a", "done", digest="sha256:1"), record("a", "unchanged", digest="sha256:2")
    assert states(join_reports([report(1, one), report(2, other)])) == {"a": "unchanged"}


def test_one_source_at_two_targets_is_two_images() -> None:
    images = [record("a", "done", target=target) for target in ("x/a:1", "y/a:1")]
    assert join_reports([report(1, images[0]), report(2, images[1])]).images == images


@pytest.mark.parametrize("shape", ["twice", "joined before", "joined with more"])
def test_a_run_counts_once(shape: str) -> None:
    one, other = report(1, record("a", "done")), report(2, record("b", "done"))
    both = join_reports([one, other])
    given = {"twice": [one, other, one], "joined before": [both, one, both], "joined with more": [both]}[shape]
    document = join_reports(given)
    assert (document.totals, document.runs, document.images) == (both.totals, both.runs, both.images)


ERROR = make_document(
    "save", None, datetime.now(UTC), 0.0, [], {}, end="failed", error=StorageError("full", path="x")
).error


@pytest.mark.parametrize(
    ("command", "broken", "later", "end"),
    [
        ("mirror", ["done", "not reached"], {"b": "done"}, "complete"),
        ("mirror", ["done", "not reached"], {"b": "failed"}, "complete"),
        ("mirror", ["done", "not reached"], {"b": "not reached"}, "failed"),
        ("mirror", ["done", "not reached"], {}, "failed"),
        # Nothing is known of its list.
        ("mirror", [], {"a": "done"}, "failed"),
        # Its archive was not made: what was fetched is in the cache alone.
        ("save", ["done", "not reached"], {"b": "done"}, "failed"),
        ("save", ["done", "done"], {"a": "done", "b": "done"}, "complete"),
    ],
)
def test_a_run_that_broke_off_is_made_good_by_later_ones(
    command: str, broken: list[str], later: dict[str, str], end: str
) -> None:
    images = [record(name, status) for name, status in zip("ab", broken, strict=False)]
    first = report(1, *images, command=command, end="failed", error=ERROR)
    second = report(2, *(record(name, status) for name, status in later.items()), command=command)
    document = join_reports([first, second])
    assert (document.end, document.error) == (end, ERROR if end == "failed" else None)


def test_a_sync_of_failed_images_joins_a_save_and_other_commands_do_not() -> None:
    one, other = report(1, record("a", "failed"), command="save"), report(2, record("a", "done"), command="sync")
    document = join_reports([one, other])
    assert (document.command, states(document)) == ("save", {"a": "done"})
    with pytest.raises(UsageError, match="reports of save and of mirror cannot be joined"):
        join_reports([one, report(3)])


def test_the_list_of_failed_images_is_joined_too() -> None:
    invalid = [InvalidRecord(list="list.txt", line=3, message="'a b' has white space")]
    first = report(1, record("a", "failed"), record("b", "failed"), record("c", "not reached"), invalid=invalid)
    second = report(2, record("a", "done"), record("d", "failed", text="d\n# e"), invalid=invalid)
    lines = failed_lines(join_reports([first, second]))
    assert lines == ["b", "c", "d # e", "# list.txt:3: 'a b' has white space"]


def test_options_that_all_runs_had_stay_and_problems_are_those_of_the_last_verify() -> None:
    one, other = {"source": "a", "jobs": 4, "lenient": True}, {"source": "a", "jobs": 8, "lenient": True}
    first = report(1, command="verify", options=one, problems=["damaged"], notices=["once", "twice"])
    second = report(2, command="verify", options=other, notices=["twice"])
    document = join_reports([first, second])
    assert (document.options, document.problems) == ({"source": "a", "lenient": True}, [])
    assert document.notices == ["once", "twice"]
    third = report(3, command="verify", options={"source": "b"}, problems=["missing"])
    assert join_reports([first, third]).problems == ["damaged", "missing"]


def test_images_without_a_time_have_none_together() -> None:
    one = record("a", "done", seconds=None)
    assert join_reports([report(1, one), report(2, one)]).images[0].seconds is None


RUNS = st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from(STATES)), min_size=2, max_size=4)


@settings(max_examples=40)
@given(RUNS, st.randoms(use_true_random=False))
def test_the_order_of_reports_and_joins_in_between_change_nothing(runs: list[dict[str, str]], random: Any) -> None:
    documents = [
        report(number, *(record(name, state) for name, state in run.items())) for number, run in enumerate(runs)
    ]
    whole = join_reports(documents)
    shuffled = random.sample(documents, len(documents))
    assert join_reports(shuffled) == whole
    assert join_reports([join_reports(documents[:-1]), documents[-1]]) == whole


def test_a_tag_that_was_deleted_stands_once_as_it_was_last() -> None:
    failed = TagRecord(target="r.io/a:1", digest="sha256:1", status="failed", reason="it is locked")
    deleted = replace(failed, status="deleted", reason="")
    documents = [replace(report(number), pruned=[tag]) for number, tag in enumerate((failed, deleted), 1)]
    assert join_reports(documents).pruned == [deleted]
