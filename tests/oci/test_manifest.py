import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.errors import ContentError, HangarError, UnsupportedManifest
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, ImageConfig, Index, Manifest, parse_manifest
from hangar_async.oci.platform import NO_PLATFORM, Platform

CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "a" * 64, "size": 3}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:" + "b" * 64, "size": 4}
ENTRY = {"mediaType": media_types.OCI_MANIFEST, "digest": "sha256:" + "c" * 64, "size": 5}


def raw(**fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


def test_manifest_fields() -> None:
    document = raw(config=CONFIG, layers=[{**LAYER, "urls": ["https://example.com/l"], "annotations": {"a": "b"}}])
    manifest = parse_manifest(document, media_types.OCI_MANIFEST)
    assert isinstance(manifest, Manifest)
    assert manifest.digest == Digest.of(document)
    assert manifest.raw == document
    assert manifest.is_image
    assert manifest.layers[0].is_foreign
    assert manifest.layers[0].annotations == {"a": "b"}
    assert manifest.descriptor.size == len(document)


def test_index_keeps_its_entries_as_they_stand() -> None:
    text = b'{"schemaVersion": 2,  "manifests": [ {"size":5, "digest":"sha256:%s","mediaType":"x", "odd": [1, 2]},{}]}'
    text = text.replace(b"%s", b"c" * 64).replace(b",{}", b"")
    index = parse_manifest(text, media_types.DOCKER_LIST)
    assert isinstance(index, Index)
    part = index.with_only(index.manifests)
    assert b'{"size":5, "digest":"sha256:' in part.raw
    assert b'"odd": [1, 2]}' in part.raw
    again = parse_manifest(part.raw)
    assert isinstance(again, Index)
    assert again.media_type == media_types.DOCKER_LIST
    assert again.digest == part.digest == Digest.of(part.raw)
    assert again.manifests == index.manifests


def test_platforms_of_entries() -> None:
    platform = {"os": "windows", "architecture": "amd64", "os.version": "10.0", "variant": "v1"}
    index = parse_manifest(raw(manifests=[{**ENTRY, "platform": platform}, ENTRY]))
    assert isinstance(index, Index)
    assert index.manifests[0].platform == Platform("windows", "amd64", "v1", "10.0")
    assert index.manifests[0].to_json()["platform"] == platform
    assert index.manifests[1].platform is None


def test_attestation_entries_name_their_manifest() -> None:
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": "sha256:" + "d" * 64,
    }
    index = parse_manifest(raw(manifests=[{**ENTRY, "annotations": annotations}, ENTRY]))
    assert isinstance(index, Index)
    assert [entry.attests for entry in index.manifests] == ["sha256:" + "d" * 64, None]


@pytest.mark.parametrize(
    ("document", "content_type", "told"),
    [
        (raw(config=CONFIG, layers=[], manifests=[]), "", "both layers and manifests"),
        (raw(config=CONFIG, layers=[], mediaType=media_types.OCI_MANIFEST), media_types.DOCKER_MANIFEST, "sent as"),
        (raw(manifests=[], mediaType=media_types.OCI_MANIFEST), "", "lacks the fields"),
        (raw(config=CONFIG, layers=[]), media_types.OCI_INDEX, "lacks the fields"),
        (raw(), "", "lacks the fields"),
        (b"<html>", "text/html", "not what the specification says"),
        (b"[" * 100_000, "", "not what the specification says"),
        (raw(config={**CONFIG, "size": -1}, layers=[]), "", "config.size"),
        (raw(config={**CONFIG, "digest": "sha256:../../etc"}, layers=[]), "", "is not a digest"),
        (b" " * (MAX_DOCUMENT + 1), "", "larger than"),
    ],
)
def test_what_is_no_manifest(document: bytes, content_type: str, told: str) -> None:
    with pytest.raises(ContentError) as caught:
        parse_manifest(document, content_type)
    assert told in str(caught.value)
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        (b'{"schemaVersion": 1, "fsLayers": [{"blobSum": "x"}], "history": []}', ""),
        (b"{}", media_types.DOCKER_SCHEMA1_SIGNED),
        (raw(fsLayers=[]), "application/json"),
    ],
)
def test_schema_1_is_told_as_such(document: bytes, content_type: str) -> None:
    with pytest.raises(UnsupportedManifest, match="Docker schema 1"):
        parse_manifest(document, content_type)


def test_unknown_kinds_are_named() -> None:
    with pytest.raises(UnsupportedManifest, match=r"application/vnd\.oci\.artifact\.manifest\.v1\+json"):
        parse_manifest(raw(mediaType="application/vnd.oci.artifact.manifest.v1+json", blobs=[]))


def test_content_type_may_have_parameters_or_be_of_no_use() -> None:
    document = raw(config=CONFIG, layers=[LAYER])
    assert parse_manifest(document, "application/json; charset=utf-8").media_type == media_types.OCI_MANIFEST
    docker = parse_manifest(document, f"{media_types.DOCKER_MANIFEST}; charset=utf-8")
    assert docker.media_type == media_types.DOCKER_MANIFEST


def test_configs() -> None:
    digest = Digest.of(b"")
    config = ImageConfig.parse(
        b'{"os":"linux","architecture":"arm","variant":"v7","created":"2024-01-01T00:00:00Z"}', digest
    )
    assert config.platform == Platform("linux", "arm", "v7")
    assert config.created == "2024-01-01T00:00:00Z"
    assert ImageConfig.parse(b'{"os":"","architecture":"amd64","created":null}', digest).platform == NO_PLATFORM
    with pytest.raises(ContentError):
        ImageConfig.parse(b'{"os":1}', digest)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers"]),
        _json | st.just(2) | st.just(CONFIG) | st.just([LAYER, CONFIG]),
    ),
    st.sampled_from(["", media_types.OCI_INDEX, media_types.DOCKER_MANIFEST, "application/json"]),
)
def test_any_document_is_read_or_refused(document: dict[str, Any], content_type: str) -> None:
    try:
        parsed = parse_manifest(json.dumps(document).encode(), content_type)
    except HangarError:
        return
    assert parsed.digest == Digest.of(parsed.raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(document: bytes) -> None:
    with pytest.raises(ContentError):
        parse_manifest(document)


@pytest.mark.parametrize(
    ("media_type", "compressed"),
    [
        ("application/vnd.oci.image.layer.v1.tar+gzip", True),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", True),
        ("application/vnd.oci.image.layer.v1.tar+zstd", True),
        ("application/vnd.oci.image.layer.v1.tar", False),
        ("application/vnd.oci.image.config.v1+json", False),
        ("application/vnd.cncf.helm.chart.content.v1.tar+gzip; x=y", True),
    ],
)
def test_compressed_media_types(media_type: str, compressed: bool) -> None:
    assert media_types.is_compressed(media_type) is compressed
