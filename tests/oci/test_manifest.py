import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from hangar_async.errors import ContentError, HangarError, UnsupportedManifest
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import (
    MAX_DOCUMENT,
    MAX_INDEX_ENTRIES,
    MAX_LAYERS,
    MOST_VALUES,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    decode_json,
    join_index,
    parse_manifest,
)
from hangar_async.oci.platform import NO_PLATFORM, Platform
from tests.refusal import attempt

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


@pytest.mark.parametrize(
    "platform",
    [{}, {"os": "", "architecture": ""}, {"os": "", "architecture": "arm64"}, {"os": "linux"}, {"os.version": "10.0"}],
)
def test_an_entry_whose_platform_lacks_a_word_has_none(platform: dict[str, str]) -> None:
    index = parse_manifest(raw(manifests=[{**ENTRY, "platform": platform}]))
    assert isinstance(index, Index)
    assert index.manifests[0].platform is None
    assert json.loads(index.manifests[0].raw)["platform"] == platform


def test_attestation_entries_name_their_manifest() -> None:
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": "sha256:" + "d" * 64,
    }
    index = parse_manifest(raw(manifests=[{**ENTRY, "annotations": annotations}, ENTRY]))
    assert isinstance(index, Index)
    assert [entry.attests for entry in index.manifests] == ["sha256:" + "d" * 64, None]


@pytest.mark.parametrize(
    ("fields", "accompanies"),
    [
        ({}, False),
        ({"artifactType": "text/spdx"}, True),
        ({"artifactType": "text/spdx", "platform": {"os": "unknown", "architecture": "unknown"}}, True),
        ({"artifactType": "application/wasm", "platform": {"os": "wasi", "architecture": "wasm"}}, False),
        ({"artifactType": "application/vnd.oci.image.config.v1+json"}, False),
        ({"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}, True),
    ],
)
def test_an_entry_says_whether_it_only_accompanies_an_image(fields: dict[str, Any], accompanies: bool) -> None:
    index = parse_manifest(raw(manifests=[{**ENTRY, **fields}]))
    assert isinstance(index, Index)
    assert index.manifests[0].accompanies == accompanies


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
        (raw(manifests=[{**ENTRY, "size": 1 << 63}]), "", "document"),
        (raw(manifests=[{**ENTRY, "size": 10**400}]), "", "document"),
        (raw(config=CONFIG, layers=[{**LAYER, "size": 1 << 63}]), "", "layers[0].size"),
        (raw(manifests=[{**ENTRY, "platform": {"os": "\x1b[2J", "architecture": "a"}}]), "", "no word of a platform"),
        (raw(manifests=[{**ENTRY, "platform": {"os": "a", "architecture": "b" * 201}}]), "", "no word of a platform"),
        (raw(config=CONFIG, mediaType="\x1b[2J" * 100_000), media_types.OCI_MANIFEST, "sent as"),
        (raw(config=CONFIG, mediaType="\x1b[2J" * 100_000), "", "of the unsupported type '\\x1b[2J"),
    ],
)
def test_an_invalid_manifest_is_refused(document: bytes, content_type: str, told: str) -> None:
    with pytest.raises(ContentError) as caught:
        parse_manifest(document, content_type)
    assert told in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
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
    with pytest.raises(ContentError, match="no word of a platform"):
        ImageConfig.parse(b'{"os":"a\\nb","architecture":"c"}', digest)


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


@given(st.binary(max_size=200) | _json.map(lambda value: json.dumps(value).encode()))
def test_any_config_is_read_or_refused(document: bytes) -> None:
    try:
        found = ImageConfig.parse(document, Digest.of(document))
    except ContentError:
        return
    assert isinstance(found.platform.suffix + found.created, str)


_text = st.text(st.characters(codec="utf-8"), max_size=10)
_words = st.sampled_from(["linux", "windows", "amd64", "arm", "v7", "10.0.1", "", "unknown"])
_entries = st.lists(
    st.builds(
        Descriptor,
        _text | st.sampled_from(sorted(media_types.MANIFESTS | media_types.INDEXES)),
        st.builds(Digest.of, st.binary(max_size=2), st.sampled_from(["sha256", "sha512"])),
        st.integers(0, 1 << 62),
        st.none() | st.builds(Platform, _words, _words, _words, _words),
    ),
    max_size=5,
)


@given(_entries)
def test_an_index_that_is_joined_reads_back(entries: list[Descriptor]) -> None:
    index = join_index(entries)
    found = parse_manifest(index.raw)
    assert isinstance(found, Index)
    assert (found.digest, found.media_type) == (index.digest, media_types.OCI_INDEX)
    assert [entry.to_json() for entry in found.manifests] == [entry.to_json() for entry in entries]


@given(
    st.lists(st.dictionaries(_text, _json, max_size=3), max_size=5),
    st.integers(0, 31),
    st.sampled_from(sorted(media_types.INDEXES)),
    st.sampled_from([None, 1, "\t"]),
)
def test_a_part_of_an_index_has_its_entries_as_they_stood(
    others: list[dict[str, Any]], kept: int, media_type: str, indent: Any
) -> None:
    """Fields that are not known too, and white space within them."""
    entries = [{**other, **ENTRY, "size": number} for number, other in enumerate(others)]
    for entry in entries:
        for known in ("platform", "annotations", "urls"):
            entry.pop(known, None)
    text = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}, indent=indent)
    index = parse_manifest(text.encode())
    assert isinstance(index, Index)
    chosen = tuple(entry for number, entry in enumerate(index.manifests) if kept >> number & 1)
    part = index.with_only(chosen)
    found = parse_manifest(part.raw, media_type)
    assert isinstance(found, Index)
    assert found == part
    assert [entry.raw for entry in found.manifests] == [entry.raw for entry in chosen]
    assert all(entry.raw in text.encode() for entry in chosen)
    assert [json.loads(entry.raw) for entry in chosen] == [entries[entry.size] for entry in chosen]


@pytest.mark.parametrize(("field", "most"), [("manifests", MAX_INDEX_ENTRIES), ("layers", MAX_LAYERS)])
def test_the_largest_document_takes_no_more_than_some_times_its_size(field: str, most: int) -> None:
    """Of the most entries there may be, each with as many short annotations as fit."""
    pairs = (MAX_DOCUMENT // most - 120) // 10
    annotations = ",".join(f'"{number:03}":"b"' for number in range(pairs))
    entry = b'{"digest":"sha256:%s","size":1,"annotations":{%s}}' % (b"a" * 64, annotations.encode())
    config = b'"config":{"digest":"sha256:%s","size":1},' % (b"b" * 64) if field == "layers" else b""
    document = b'{"schemaVersion":2,%s"%s":[' % (config, field.encode()) + b",".join([entry] * most) + b"]}"
    assert MAX_DOCUMENT * 0.8 < len(document) <= MAX_DOCUMENT
    tracemalloc.start()
    try:
        parse_manifest(document)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MAX_DOCUMENT


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


class Kind(msgspec.Struct):
    word: str = ""
    words: list[str] | None = None
    raw: list[msgspec.Raw] | None = None


def test_a_document_is_read_and_other_fields_are_passed_over() -> None:
    assert decode_json(b'{"word":"a","words":["b"],"other":{"deep":[1]}}', Kind) == Kind("a", ["b"])
    assert decode_json(bytearray(b'{"word":"a"}'), Kind) == Kind("a")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "truncated"), (b"{", "truncated"), (b"[]", "Expected `object`"), (b'{"word":1}', r"`str`.*\.word"),
        (b"\xff\xfe", "malformed"), (b'{"word":"\xff"}', "utf-8|UTF-8"), (b'{"word":"\\ud800"}', "truncated"),
        (b'{"other":' + b"[" * 100_000, "nested too deep"), (b'{"raw":' + b"[" * 100_000, "nested too deep|malformed"),
        (b'{"words":[' + b'"",' * MOST_VALUES + b'""]}', "more than 524,288 values"),
    ],
)  # fmt: skip
def test_a_document_that_does_not_fit_its_type_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        decode_json(raw, Kind)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers() | st.floats(allow_nan=False),
       lambda below: st.lists(below) | st.dictionaries(st.sampled_from(["word", "words", "raw"]) | st.text(), below))
       .map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))  # fmt: skip
def test_anything_is_read_or_refused_in_one_line(raw: bytes) -> None:
    assert isinstance(attempt(lambda: decode_json(raw, Kind), ValueError), Kind | None)


@pytest.mark.parametrize("value", [b"0,", b'"",', b"[],", b"{},", b'"word",'])
@pytest.mark.parametrize("field", ["raw", "words", "other"])
def test_many_small_values_take_little_memory(value: bytes, field: str) -> None:
    """They compress to nothing, so that a file of a few KiB has millions of them."""
    raw = b'{"%s":[' % field.encode() + value * ((16 << 20) // len(value)) + b"0]}"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than"):
            decode_json(raw, Kind)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_document_may_be_allowed_fewer_or_more_values() -> None:
    raw: Any = json.dumps({"words": ["a"] * 100}).encode()
    assert len(decode_json(raw, Kind, 100).words or ()) == 100
    with pytest.raises(ValueError, match="more than 99 values"):
        decode_json(raw, Kind, 99)


def test_layers_and_entries_have_a_number_that_is_checked_before_any_is_read() -> None:
    tiny = {"digest": "sha256:" + "a" * 64, "size": 1}
    for name, most in (("layers", MAX_LAYERS), ("manifests", MAX_INDEX_ENTRIES)):
        fields = {"config": CONFIG} if name == "layers" else {}
        document = parse_manifest(raw(**fields, **{name: [tiny] * most}))
        found = document.manifests if isinstance(document, Index) else document.layers
        assert len(found) == most
        # The one too many is no descriptor: nothing is said about it.
        with pytest.raises(ContentError) as caught:
            parse_manifest(raw(**fields, **{name: [*([tiny] * most), 7]}))
        assert f"has {most + 1:,} {'layers' if name == 'layers' else 'entries'}, and at most {most:,} are taken" in str(
            caught.value
        )
    many = parse_manifest(raw(manifests=[tiny] * (MAX_INDEX_ENTRIES + 1)), entries=MOST_VALUES)
    assert isinstance(many, Index)


def test_a_manifest_of_40_000_layers_is_refused_in_the_memory_of_its_bytes() -> None:
    tiny = b'{"digest":"sha256:' + b"a" * 64 + b'","size":1}'
    document = b'{"schemaVersion":2,"config":' + tiny + b',"layers":[' + b",".join([tiny] * 40_000) + b"]}"
    assert 3 << 20 < len(document) < MAX_DOCUMENT
    tracemalloc.start()
    try:
        with pytest.raises(ContentError, match="has 40,000 layers, and at most 4,096 are taken"):
            parse_manifest(document)
        assert tracemalloc.get_traced_memory()[1] < len(document)
    finally:
        tracemalloc.stop()
