"""`merge_reports`: files in, one report and one list of failed images out."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.config.options import MergeReportsOptions
from hangar_async.engine.merge_reports import merge_reports
from hangar_async.engine.reporting.document import report_document
from hangar_async.errors import UsageError
from tests.engine.reporting.rig import checked
from tests.engine.reporting.samples import LOADED, SAVED

REPORT = str(report_document("save", SAVED))


async def test_reports_become_one_and_the_failed_images_a_list(tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("a.json", "b.json")]
    for name in names:
        name.write_text(REPORT)
    failed, output = tmp_path / "report-failed.txt", tmp_path / "all.json"
    done = await merge_reports(MergeReportsOptions(reports=names, report=output, failed=failed))
    document = checked(output.read_text())
    assert (done.status, done.failed_list, document["failed_list"]) == (1, failed, str(failed))
    assert document["totals"]["images"] == 3
    assert len(document["runs"]) == 1
    assert failed.read_text().splitlines() == [
        "# hangar-async failed images",
        SAVED.outcomes[1].entry.text,
        "# list.txt:9: 'a b' has white space",
    ]


async def test_a_report_without_failures_removes_the_list(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(str(report_document("load", LOADED)))
    failed, texts = tmp_path / "report-failed.txt", list[str]()
    failed.write_text("# hangar-async failed images\n")
    done = await merge_reports(MergeReportsOptions(reports=[tmp_path / "a.json"], report=texts.append, failed=failed))
    assert (done.status, done.failed_list, failed.exists()) == (0, None, False)
    assert checked(texts[0])["totals"]["done"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read the report .*a.json: No such file"),
        (b"", "is no report"),
        (b"[1, 2]", "is no report"),
        (b'{"version": 1}', "is no report: .*missing required field"),
        (b'{"version": 2, "runs": 7}', "is of version 2, which this program does not know: use a later one"),
        (b"\xff\xfe", "is no report"),
        (b'{"version": 1, "options": ' + b"[" * 100_000, "is no report"),
    ],
)
async def test_a_file_that_is_no_report_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        await merge_reports(MergeReportsOptions(reports=[tmp_path / "a.json"], report=tmp_path / "all.json"))
    assert not (tmp_path / "all.json").exists()


@pytest.mark.parametrize(
    ("output", "failed", "message"),
    [
        ("a.json", "failed.txt", "would replace .*a.json"),
        ("all.json", "a.json", "would replace .*a.json"),
        ("all.json", "all.json", "would replace"),
        ("none/all.json", "failed.txt", r"does not exist \(-o"),
        ("all.json", "none/failed.txt", r"does not exist \(--failed"),
        ("notes.txt", "failed.txt", "is no report and would be lost"),
    ],
)
async def test_an_output_that_cannot_be_is_refused(tmp_path: Path, output: str, failed: str, message: str) -> None:
    (tmp_path / "a.json").write_text(REPORT)
    (tmp_path / "notes.txt").write_text("mine")
    options = MergeReportsOptions(reports=[tmp_path / "a.json"], report=tmp_path / output, failed=tmp_path / failed)
    with pytest.raises(UsageError, match=message):
        await merge_reports(options)
    assert (tmp_path / "a.json").read_text() == REPORT


def test_reports_are_named() -> None:
    with pytest.raises(UsageError, match="no report is named"):
        MergeReportsOptions(reports=[], report=Path("all.json"))


async def test_a_field_of_a_later_release_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(REPORT.replace('"version":1,', '"version":1,"new":{"x":1},', 1))
    done = await merge_reports(MergeReportsOptions(reports=[tmp_path / "a.json"], report=tmp_path / "all.json"))
    assert done.document.totals.images == 3
