"""The published schema is that of the documents, which keep their fields."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from hangar_async.engine.reporting.document import report_document
from hangar_async.engine.reporting.records import ImageRecord, ReportDocument, schema
from tests.engine.reporting.rig import DOCS, checked
from tests.engine.reporting.samples import LOADED, SAVED

#: A field that is here stays, and means what docs/report.md says.
FIELDS = {
    "ReportDocument": "version command program options started seconds end error images invalid problems notices "
    "output failed_list totals runs pruned",
    "RunRecord": "command program options started seconds end error output failed_list",
    "ErrorRecord": "reason message advice retriable",
    "ImageRecord": "name target line text status reason message advice retriable same_as source_digest digest replaced "
    "platforms size bytes seconds referrers notes",
    "InvalidRecord": "list line message",
    "TagRecord": "target digest status reason",
    "OutputRecord": "files bytes format kept",
    "Totals": "images done unchanged failed skipped invalid duplicates blobs bytes reused_blobs reused_bytes "
    "resumed_bytes mounted_blobs mounted_bytes present_blobs present_bytes referrers",
    "ReferrersRecord": "signatures attestations others",
}


def test_the_published_schema_is_that_of_the_documents() -> None:
    """`json.dumps(schema(), indent=2)` is the new one after a change."""
    assert json.loads((DOCS / "report.schema.json").read_text()) == schema()


@pytest.mark.parametrize("name", FIELDS)
def test_fields_stay_and_each_is_on_the_page(name: str) -> None:
    found = schema()["$defs"][name]
    assert set(found["properties"]) >= set(FIELDS[name].split())
    # Reports of earlier versions are read too.
    assert set(found["required"]) >= set(FIELDS[name].split()) - {"version", "pruned"}
    page = (DOCS / "report.md").read_text()
    for field in found["properties"]:
        assert f"`{field}`" in page, f"{field} of {name}"


def test_a_document_is_json_with_one_image_a_line() -> None:
    document = report_document("save", SAVED)
    text = str(document)
    checked(text)
    lines = text.splitlines()
    assert lines[0].startswith('{"version":1,"command":"save","program":"hangar-async ')
    assert [json.loads(line.rstrip(","))["name"] for line in lines[1:-1]] == [one.name for one in SAVED.outcomes]
    assert msgspec.json.decode(text, type=ReportDocument) == document
    empty = msgspec.structs.replace(document, images=[])
    assert msgspec.json.decode(str(empty), type=ReportDocument) == empty


def test_a_run_of_several_is_that_of_its_document() -> None:
    document = report_document("load", LOADED)
    run = document.run
    assert (run.command, run.started, run.end) == ("load", document.started, "complete")


@pytest.mark.parametrize(
    ("status", "reason", "is_missing"),
    [
        ("done", None, False),
        ("failed", "network", True),
        ("skipped", "not reached", True),
        ("skipped", "dry run", False),
    ],
)
def test_an_image_is_missing_when_it_failed_or_its_turn_did_not_come(
    status: Any, reason: str | None, is_missing: bool
) -> None:
    record = report_document("save", SAVED).images[0]
    assert msgspec.structs.replace(record, status=status, reason=reason).is_missing == is_missing
    assert isinstance(record, ImageRecord)
