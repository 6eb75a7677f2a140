from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hangar_async.errors import ContentError, InvalidValue
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Index, Manifest, parse_manifest
from hangar_async.oci.referrers import (
    COSIGN_TYPES,
    ReferrerKind,
    ReferrerSelector,
    cosign_type,
    is_referrers_tag,
    kind_of,
    referrer_of,
    referrers_index,
    with_referrer,
)

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
def test_a_manifest_without_subject_is_no_referrer(fields: dict[str, Any]) -> None:
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


def test_a_referrer_is_added_once() -> None:
    first, second = (referrer_of(manifest(subject=NAMED, annotations={"n": n})) for n in "12")
    assert first is not None
    assert second is not None
    one = with_referrer(None, first)
    assert one is not None
    assert with_referrer(one, first) is None
    both = with_referrer(one, second)
    assert both is not None
    assert [entry.digest for entry in both.manifests] == [first.descriptor.digest, second.descriptor.digest]
    assert both.manifests[0].raw == one.manifests[0].raw
    assert parse_manifest(both.raw).digest == both.digest


def test_a_list_of_referrers_has_a_largest_size() -> None:
    found = [referrer_of(manifest(subject=NAMED, annotations={"n": n * 3_000_000})) for n in "12"]
    assert found[0] is not None
    assert found[1] is not None
    with pytest.raises(ContentError, match="larger"):
        with_referrer(with_referrer(None, found[0]), found[1])


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        (f"sha256-{'a' * 64}.sig", COSIGN_TYPES["sig"]),
        (f"sha256-{'a' * 64}.att", COSIGN_TYPES["att"]),
        (f"sha256-{'a' * 64}.sbom", COSIGN_TYPES["sbom"]),
        (f"sha256-{'a' * 64}", ""),
        (f"sha256-{'a' * 63}.sig", ""),
        (f"sha256-{'a' * 64}.sig.old", ""),
        ("v1.sig", ""),
        (None, ""),
    ],
)
def test_tags_of_cosign(tag: str | None, found: str) -> None:
    assert cosign_type(tag) == found


def test_tags_that_may_be_lists_of_referrers() -> None:
    tags = [f"sha256-{'a' * 64}", f"sha512-{'a' * 64}", f"sha256-{'a' * 64}.sig", "latest", None]
    assert [is_referrers_tag(tag) for tag in tags] == [True, True, False, False, False]


BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@pytest.mark.parametrize(
    ("artifact_type", "annotations", "kind"),
    [
        (COSIGN_TYPES["sig"], {}, "signature"),
        ("application/vnd.cncf.notary.signature", {}, "signature"),
        (BUNDLE, {}, "signature"),
        (BUNDLE, {"dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1"}, "signature"),
        (BUNDLE, {"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}, "attestation"),
        (COSIGN_TYPES["att"], {}, "attestation"),
        ("application/vnd.in-toto+json", {}, "attestation"),
        (COSIGN_TYPES["sbom"], {}, "other"),
        ("application/spdx+json", {}, "other"),
        ("", {}, "other"),
    ],
)
def test_kinds_of_referrers(artifact_type: str, annotations: dict[str, str], kind: ReferrerKind) -> None:
    assert kind_of(artifact_type, annotations) == kind


def test_all_referrers_none_and_some() -> None:
    everything, nothing = ReferrerSelector.parse(" all "), ReferrerSelector.parse("none")
    some = ReferrerSelector.parse("application/spdx+json, text/x")
    assert [bool(one) for one in (everything, nothing, some)] == [True, False, True]
    assert ["text/x" in one for one in (everything, nothing, some)] == [True, False, True]
    assert "text/y" not in some
    assert [one.only for one in (everything, nothing, some)] == ["", "", ""]
    assert ReferrerSelector.parse("text/x").only == "text/x"


@pytest.mark.parametrize("text", ["", ",", "sbom", "all,text/x", "none,none", "text/", "/x", "a/b c", "text/x?y"])
def test_words_that_are_no_selection_of_referrers(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"write all, none, or types"):
        ReferrerSelector.parse(text)
