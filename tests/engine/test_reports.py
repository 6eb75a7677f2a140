"""The exit status of a run follows from its outcomes."""

from pathlib import Path

import pytest

from hangar_async.engine.reports import (
    Comparison,
    ComparisonReport,
    ImageOutcome,
    LoadOutcome,
    LoadReport,
    Output,
    Report,
    Sent,
    Traffic,
)
from hangar_async.errors import HangarError, NotFound
from hangar_async.imagelist import Entry
from hangar_async.oci.image import Image
from hangar_async.oci.reference import Reference

REFERENCE = Reference.parse("reg.example.com/app:1")
ENTRY = Entry(REFERENCE, 1, "reg.example.com/app:1")
IMAGE = Image(REFERENCE, None, ())
ERROR = NotFound("not found", host="reg.example.com", status=404)


@pytest.mark.parametrize(
    ("outcomes", "written", "status"),
    [
        ([ImageOutcome(ENTRY, IMAGE)], True, 0),
        ([ImageOutcome(ENTRY, IMAGE), ImageOutcome(ENTRY, same_as=ENTRY)], True, 0),
        ([ImageOutcome(ENTRY, IMAGE), ImageOutcome(ENTRY, error=ERROR)], True, 1),
        # It was saved, and its source has another image now.
        ([ImageOutcome(ENTRY, IMAGE, ERROR)], True, 1),
        ([ImageOutcome(ENTRY, error=ERROR)], False, 3),
        # A shard may have no images.
        ([], False, 0),
    ],
)
def test_the_status_of_a_save_is_0_1_or_3(outcomes: list[ImageOutcome], written: bool, status: int) -> None:
    output = Output((Path("a.tar.gz"),), 5, "gzip") if written else None
    report = Report(tuple(outcomes), (), 0, Traffic(), output, 1.0)
    assert report.status == status
    assert [outcome.error for outcome in report.failed] == [one.error for one in outcomes if one.error]
    assert len(report.saved) == len([one for one in outcomes if one.image])


def test_companions_that_were_left_out_are_summed() -> None:
    outcomes = (ImageOutcome(ENTRY, IMAGE, left_out=2), ImageOutcome(ENTRY, error=ERROR), ImageOutcome(ENTRY, IMAGE))
    assert Report(outcomes, (), 0, Traffic(), None, 1.0).left_out == 2


@pytest.mark.parametrize(("error", "status"), [(None, 0), (ERROR, 1)])
def test_the_status_of_a_load_and_of_a_comparison_is_0_or_1(error: HangarError | None, status: int) -> None:
    outcome = LoadOutcome(IMAGE, REFERENCE, "failed" if error else "pushed", error=error)
    load = LoadReport(Path("a"), "reg", (outcome,), Sent(), 1.0)
    comparison = ComparisonReport(Path("a"), "reg", (Comparison(IMAGE, REFERENCE, error),), 1.0)
    for report in (load, comparison):
        assert report.status == status
        assert len(report.failed) == status


def test_the_path_of_an_output_is_its_first_file() -> None:
    assert Output((Path("a.part0"), Path("a.part1")), 5, "gzip").path == Path("a.part0")
