"""Reports of runs, and the schema that they keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

DOCS = Path(__file__).parents[3] / "docs"


def checked(text: str | bytes, name: str = "report") -> dict[str, Any]:
    """Read a document, after it was compared with the schema that is published; no other field may be in it."""
    document: dict[str, Any] = json.loads(text)
    schema = json.loads((DOCS / f"{name}.schema.json").read_text())
    for definition in schema["$defs"].values():
        definition["additionalProperties"] = False
    jsonschema.Draft202012Validator(schema).validate(document)
    return document


def by_name(document: dict[str, Any]) -> dict[str, Any]:
    """The records of the images, by the last part of their names."""
    return {record["name"].rpartition("/")[2]: record for record in document["images"]}
