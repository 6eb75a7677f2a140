"""The JSON Schema is made of the types."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from hangar_async.jobfile.document import parse_document
from hangar_async.jobfile.fields import FileFields, schema
from tests.jobfile.rig import WHOLE, read


def test_the_schema_has_all_fields_and_their_descriptions() -> None:
    made = schema()
    assert made["$schema"].endswith("2020-12/schema")
    definitions = made["$defs"]
    assert set(definitions["FileFields"]["properties"]) >= {"version", "state", "registries", "jobs"}
    assert "from" in definitions["JobFields"]["properties"]
    assert "newer-than" in definitions["TagFields"]["properties"]
    for definition in definitions.values():
        assert definition["additionalProperties"] is False
        assert all(field["description"] for field in definition["properties"].values())


def test_the_page_names_each_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()
    for definition in schema()["$defs"].values():
        for name in definition["properties"]:
            assert f"\n| `{name}` | " in page, name


def examples() -> list[str]:
    page = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()
    return re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("text", examples())
def test_the_examples_of_the_page_are_right(text: str) -> None:
    if not text.startswith("version"):
        lines = "".join(f"    {line}\n" for line in text.splitlines())
        text = f"version: 1\njobs:\n  - name: a\n    from: r.io/x\n    to: h.io/x\n{lines}"
    assert read(text).jobs


def test_the_examples_of_the_daemon_are_right() -> None:
    page = (Path(__file__).parents[2] / "docs" / "daemon.md").read_text()
    times, told = (
        read(text, {"SLACK_URL": "https://h.io/x"}) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    )
    assert all(job.schedule is not None for job in (*times.jobs, *told.jobs))
    assert len(told.webhooks) == 2


def test_the_types_take_a_whole_file() -> None:
    file = msgspec.convert(parse_document(WHOLE, "m.yaml", {}).plain, FileFields)
    assert [job.name for job in file.jobs] == ["bases", "monitoring", "pinned"]
