from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Index, Manifest, parse_manifest
from hangar_async.oci.referrers import referrer_of, referrers_index

SUBJECT = Digest("sha256", "a" * 64)
NAMED = {"mediaType": media_types.OCI_MANIFEST, "digest": str(SUBJECT), "size": 3}
CONFIG = {"mediaType": "application/vnd.example.config", "digest": f"sha256:{'b' * 64}", "size": 2}


def manifest(**fields: Any) -> Manifest | Index:
    return parse_manifest(json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": [], **fields}).encode())


def test_a_manifest_with_a_subject() -> None:
    document = manifest(subject=NAMED, artifactType="application/vnd.example.sbom", annotations={"a": "1"})
    found = referrer_of(document)
    assert found is not None
    assert (found.subject, found.artifact_type) == (SUBJECT, "application/vnd.example.sbom")
    assert found.descriptor.digest == document.digest
    assert found.descriptor.annotations == {"a": "1"}


def test_the_type_of_one_that_names_none_is_that_of_its_config() -> None:
    found = referrer_of(manifest(subject=NAMED))
    assert found is not None
    assert found.artifact_type == CONFIG["mediaType"]


def test_an_index_may_refer_too() -> None:
    raw = json.dumps({"schemaVersion": 2, "manifests": [], "subject": NAMED}).encode()
    found = referrer_of(parse_manifest(raw))
    assert found is not None
    assert (found.subject, found.artifact_type) == (SUBJECT, "")
    (entry,) = json.loads(referrers_index([found]))["manifests"]
    assert "artifactType" not in entry


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"subject": None},
        {"subject": "x"},
        {"subject": {"digest": "short"}},
        {"subject": {}},
        {"subject": NAMED, "annotations": {"a": 1}},
    ],
)
def test_what_refers_to_nothing(fields: dict[str, Any]) -> None:
    assert referrer_of(manifest(**fields)) is None


@given(st.lists(st.tuples(st.text(max_size=20), st.dictionaries(st.text(max_size=5), st.text(max_size=5))), max_size=5))
def test_a_list_of_referrers_is_an_index(entries: list[tuple[str, dict[str, str]]]) -> None:
    documents = [manifest(subject=NAMED, artifactType=kind, annotations=more) for kind, more in entries]
    found = [one for document in documents if (one := referrer_of(document))]
    raw = referrers_index(found)
    assert json.loads(raw)["mediaType"] == media_types.OCI_INDEX
    parsed = parse_manifest(raw, media_types.OCI_INDEX)
    assert isinstance(parsed, Index)
    assert [one.digest for one in parsed.manifests] == [document.digest for document in documents]
    for one, (kind, more) in zip(json.loads(raw)["manifests"], entries, strict=True):
        assert one.get("artifactType") == (kind or CONFIG["mediaType"])
        assert one.get("annotations", {}) == more
