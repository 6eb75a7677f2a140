"""`report merge` as a person runs it."""

from __future__ import annotations

from pathlib import Path

from hangar_async.engine.reporting.document import report_document
from tests.cli.conftest import Program
from tests.engine.reporting.rig import checked
from tests.engine.reporting.samples import LOADED, SAVED


def test_reports_are_merged(program: Program, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(str(report_document("save", SAVED)))
    done = program("report", "merge", "a.json", "-o", "all.json")
    assert done.status == 1
    assert done.out.splitlines() == [
        "done       1 image",
        "failed     1 image",
        "skipped    1 image",
        "invalid    list.txt:9: 'a b' has white space",
        "report     all.json",
        "list       the images that are still to be tried are in report-failed.txt",
        "joined     1 run, 3 images",
    ]
    assert checked((tmp_path / "all.json").read_text())["command"] == "save"


def test_a_merged_report_can_go_to_standard_output(program: Program, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(str(report_document("load", LOADED)))
    done = program("report", "merge", "a.json", "a.json", "-o", "-")
    assert (done.status, checked(done.out)["totals"]["done"]) == (0, 1)
    assert "joined     1 run, 1 image\n" in done.err
    assert program("report", "merge", "a.json", "-o", "-", "--quiet").err == ""
