"""The JSON Schema is made of the types."""

from __future__ import annotations

import msgspec

from hangar_async.jobfile.document import parse_document
from hangar_async.jobfile.fields import FileFields, schema
from tests.jobfile.rig import WHOLE


def test_the_schema_has_all_fields_and_their_descriptions() -> None:
    made = schema()
    assert made["$schema"].endswith("2020-12/schema")
    definitions = made["$defs"]
    assert set(definitions["FileFields"]["properties"]) == {"version", "registries", "defaults", "jobs"}
    assert "from" in definitions["JobFields"]["properties"]
    assert "newer-than" in definitions["TagFields"]["properties"]
    for definition in definitions.values():
        assert definition["additionalProperties"] is False
        assert all(field["description"] for field in definition["properties"].values())


def test_the_types_take_a_whole_file() -> None:
    file = msgspec.convert(parse_document(WHOLE, "m.yaml", {}).plain, FileFields)
    assert [job.name for job in file.jobs] == ["bases", "monitoring", "pinned"]
