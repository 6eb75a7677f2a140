"""Tests of parse."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hangar_async.errors import ContentError
from hangar_async.layout.files import EPOCH, cache_files, folder_files, named_digest
from hangar_async.layout.limits import MAX_LIST
from hangar_async.layout.parse import (
    parse_folder,
    parse_index,
    parse_layout_index,
    parse_list,
)
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image, ImagePlatform
from hangar_async.oci.manifest import Descriptor, Index, join_index, parse_manifest
from hangar_async.oci.media_types import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST
from hangar_async.oci.platform import NO_PLATFORM, Platform
from hangar_async.oci.reference import Reference
from tests.layout.rig import digest, index, index_entry

PLATFORMS = (
    Platform("linux", "amd64"),
    Platform("linux", "arm", "v7"),
    Platform("windows", "amd64", "", "10.0.17763.1879"),
    NO_PLATFORM,
)
DIGEST = f"sha256:{'1' * 64}"


def saved(name: str, *, original: Digest | None = None, kind: str = OCI_INDEX) -> Image:
    platforms = tuple(
        ImagePlatform(
            Descriptor(OCI_MANIFEST, Digest.of(f"{name}{number}".encode()), number, platform),
            Digest.of(f"folder {name} {number}".encode()).hex,
        )
        for number, platform in enumerate(PLATFORMS)
    )
    return Image(Reference.parse(name), Descriptor(kind, Digest.of(name.encode()), 7), platforms, original=original)


IMAGES = [
    saved("nginx:1.27"),
    saved("reg.io:5000/team/app@" + DIGEST, kind=DOCKER_LIST),
    saved(f"reg.io/a:1@{DIGEST}", original=Digest.parse(DIGEST)),
]


def listed(**keywords: Any) -> dict[str, Any]:
    image = {"Digest": DIGEST, "Arch": "amd64", "OS": "linux", "Folder": "a" * 64}
    entry = {"Source": "docker.io/library/nginx", "Tag": "1", "ArchList": ["amd64"], "Images": [image]}
    return {"List": [entry], "Version": "v1.1.0", "SavedTime": "2024-01-01T00:00:00Z", **keywords}


def indexed(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


def entry(name: str, **keywords: Any) -> dict[str, Any]:
    fields = {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 1, **keywords}
    return {**fields, "annotations": {"org.opencontainers.image.ref.name": name, **keywords.get("annotations", {})}}


def json_of(image: Image) -> dict[str, Any]:
    assert image.root is not None
    return image.root.to_json()


def test_written_images_are_read_back() -> None:
    files = cache_files(IMAGES, EPOCH)
    found = parse_list(files["saved-images-list.json"])
    assert found.saved == "1970-01-01T00:00:00Z"
    assert [image.name for image in found.images] == [image.reference.cache_name for image in IMAGES]
    for read, written in zip(found.images, IMAGES, strict=True):
        assert [(one.descriptor.digest, one.platform, one.folder) for one in read.platforms] == [
            (one.descriptor.digest, one.platform, one.folder) for one in written.platforms
        ]
    for root, image in zip(parse_index(files["index.json"]), IMAGES, strict=True):
        assert root.reference.layout_name == image.reference.layout_name
        assert root.original == image.original
        assert root.root is not None
        assert image.root is not None
        assert root.root.to_json() == image.root.to_json()


_words = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=12) | st.sampled_from(
    ["linux", "amd64"]
)
_platforms = st.builds(Platform, _words, _words, _words, _words)
_digests = st.builds(Digest.of, st.binary(max_size=2), st.sampled_from(["sha256", "sha512"]))
_descriptors = st.builds(
    Descriptor,
    st.sampled_from([OCI_INDEX, OCI_MANIFEST, DOCKER_LIST]),
    _digests,
    st.integers(0, 1 << 62),
    st.none() | _platforms,
)
_saved_platforms = st.builds(
    ImagePlatform,
    st.builds(lambda descriptor, platform: replace(descriptor, platform=platform), _descriptors, _platforms),
    st.integers(0, (1 << 256) - 1).map(lambda number: f"{number:064x}"),
)
_images = st.builds(
    Image,
    st.builds(
        Reference,
        st.sampled_from(["docker.io", "reg.io:5000", "[::1]", "localhost"]),
        st.from_regex(r"[a-z]{1,4}(/[a-z]{1,3})?", fullmatch=True),
        st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True),
        st.none() | _digests,
    ),
    _descriptors,
    st.lists(_saved_platforms, max_size=3, unique_by=lambda one: one.folder).map(tuple),
    original=st.none() | _digests,
)


@given(
    st.lists(_images, max_size=4, unique_by=lambda image: image.reference.cache_name),
    st.datetimes(min_value=EPOCH.replace(tzinfo=None), timezones=st.just(UTC)),
)
def test_any_written_images_are_read_back(images: list[Image], saved: datetime) -> None:
    files = cache_files(images, saved)
    found = parse_list(files["saved-images-list.json"])
    assert datetime.fromisoformat(found.saved) == saved.replace(microsecond=0)
    assert [
        (one.name, [(each.descriptor.digest, each.platform, each.folder) for each in one.platforms])
        for one in found.images
    ] == [
        (image.reference.cache_name, [(one.descriptor.digest, one.platform, one.folder) for one in image.platforms])
        for image in images
        if image.platforms
    ]
    roots = parse_index(files["index.json"])
    assert [(root.name, json_of(root), root.original) for root in roots] == [
        (image.name, json_of(image), image.original) for image in images
    ]
    for platform in (one for image in images for one in image.platforms):
        raw = folder_files(platform)[f"{platform.folder}/index.json"]
        assert parse_folder(raw, platform.folder).to_json() == platform.descriptor.to_json()


def test_folders_are_read_back() -> None:
    for image in IMAGES:
        for platform in image.platforms:
            raw = folder_files(platform)[f"{platform.folder}/index.json"]
            found = parse_folder(raw, platform.folder)
            assert found.to_json() == platform.descriptor.to_json()


def test_an_image_without_platforms_is_named_by_the_layout_alone() -> None:
    image = Image(IMAGES[0].reference, IMAGES[0].root, ())
    files = cache_files([image], EPOCH)
    assert parse_list(files["saved-images-list.json"]).images == ()
    assert [root.reference for root in parse_index(files["index.json"])] == [image.reference]


def test_a_list_of_hangars_is_read() -> None:
    """Without what ours always has: null for no images, no variant, fields that are not known."""
    document = listed(New=1)
    document["List"].append({"Source": "nginx", "Tag": "2", "Images": None})
    found = parse_list(json.dumps(document).encode())
    assert [image.name for image in found.images] == ["docker.io/library/nginx:1", "docker.io/library/nginx:2"]
    assert found.images[0].platforms[0].platform == Platform("linux", "amd64")
    assert found.images[1].platforms == ()
    assert parse_list(json.dumps(listed(List=None)).encode()).images == ()


def test_an_image_listed_twice_counts_once() -> None:
    document = listed()
    document["List"] *= 3
    other = {**document["List"][0], "Images": [{**document["List"][0]["Images"][0], "Folder": "b" * 64}]}
    document["List"] = [*document["List"], other]
    (image,) = parse_list(json.dumps(document).encode()).images
    assert [one.folder[0] for one in image.platforms] == ["a", "b"]
    assert len(parse_index(indexed(entry("nginx:1"), entry("nginx:1")))) == 1


def test_a_list_that_contradicts_itself_is_refused() -> None:
    document = listed()
    document["List"][0]["Images"].append({**document["List"][0]["Images"][0], "Digest": f"sha256:{'2' * 64}"})
    with pytest.raises(ContentError, match="two platforms of one image have the folder aaa"):
        parse_list(json.dumps(document).encode())
    with pytest.raises(ContentError, match=r"index\.json names docker\.io/library/nginx:1 twice"):
        parse_index(indexed(entry("nginx:1"), entry("nginx:1", size=2)))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"Version": "v1.2.0"}, r"has the version 'v1\.2\.0', and only 'v1\.1\.0'"),
        ({"Version": "v" * 100_000}, "has the version"),
        ({"Version": 1}, "cannot be read"),
        ({"SavedTime": "\x1b[2J"}, "is no time"),
        ({"List": {}}, "cannot be read"),
        ({"List": [1]}, "cannot be read"),
        ({"List": [{}]}, "cannot be read"),
        ({"List": [{"Source": "", "Tag": ""}]}, "is not an image"),
        ({"List": [{"Source": "../../etc", "Tag": "1"}]}, "is not a re"),
        ({"List": [{"Source": "a:" + "9" * 900 + "/b", "Tag": "1"}]}, "is not a registry"),
        ({"List": [{"Source": "a:" + "9" * 9000 + "/b", "Tag": "1"}]}, "longer than 1000"),
        ({"List": [{"Source": "a", "Tag": "1" * 200}]}, "is not a tag"),
    ],
)  # fmt: skip
def test_a_hostile_list_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ContentError, match=match) as caught:
        parse_list(json.dumps(listed(**changes)).encode())
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Folder", ".."), ("Folder", "../" * 21 + "a"), ("Folder", "/etc"), ("Folder", ""), ("Folder", "A" * 64),
        ("Folder", "a" * 65), ("Folder", "a" * 63 + "\n"), ("Folder", "x" * 100_000),
        ("Digest", ""), ("Digest", "sha256:1"), ("Digest", "md5:" + "1" * 32), ("Digest", "sha256:../" + "1" * 61),
        ("Digest", "sha256:" + "1" * 64 + "\n"), ("Digest", "sha256:" + "x" * 100_000),
        ("Arch", "\x1b[31m"), ("Arch", "a" * 100_000), ("OS", "a\nb"), ("Variant", "\u202e"), ("OsVersion", "\0"),
    ],
)  # fmt: skip
def test_a_hostile_platform_is_refused(field: str, value: str) -> None:
    document = listed()
    document["List"][0]["Images"][0][field] = value
    with pytest.raises(ContentError) as caught:
        parse_list(json.dumps(document).encode())
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{}", b"[]", b"null", b'{"schemaVersion":2}', b'{"schemaVersion":2,"manifests":null}',
        b'{"schemaVersion":2,"manifests":[1]}', b'{"schemaVersion":2,"manifests":[{"digest":"x","size":1}]}',
        b'{"schemaVersion":2,"manifests":[{"digest":"%s","size":-1}]}' % DIGEST.encode(),
        b'{"schemaVersion":2,"manifests":[],"layers":[]}', b"[" * 1_000_000, b'{"schemaVersion":1,"manifests":[]}',
        b'{"schemaVersion":2,"config":{"digest":"%s","size":1},"layers":[]}' % DIGEST.encode(),
        b" " * (MAX_LIST + 1),
    ],
)  # fmt: skip
def test_a_hostile_index_is_refused(raw: bytes) -> None:
    with pytest.raises(ContentError, match=r"index\.json"):
        parse_index(raw)
    with pytest.raises(ContentError, match=r"f/index\.json"):
        parse_folder(raw, "f")


def test_an_entry_with_an_invalid_name_is_no_image() -> None:
    names = ("", "UPPER", "a b", "../x", "a@sha256:1", "x" * 300, "a:9" + "9" * 6000 + "/b")
    others = [{key: value for key, value in entry("a").items() if key != "annotations"}]
    others.append(entry("a:1", annotations={"io.hangar-async.original.digest": "../.."}))
    assert parse_index(indexed(*map(entry, names), *others)) == ()


def test_a_folder_names_one_manifest() -> None:
    assert str(parse_folder(indexed(entry("")), "f").digest) == DIGEST
    for count in (0, 2, 50_000):
        with pytest.raises(ContentError, match=f"names {count} manifests instead of one"):
            parse_folder(indexed(*[entry("")] * count), "f")


def test_an_index_joined_of_platforms_names_them_in_order() -> None:
    descriptors = [one.descriptor for one in IMAGES[0].platforms]
    index = join_index(descriptors)
    assert index == join_index(descriptors)
    found = parse_manifest(index.raw)
    assert isinstance(found, Index)
    assert found.digest == index.digest == Digest.of(index.raw)
    assert [one.to_json() for one in found.manifests] == [one.to_json() for one in descriptors]
    assert index.descriptor.media_type == OCI_INDEX


def test_a_blobs_name_promises_its_digest() -> None:
    assert named_digest(f"share/sha256/{'1' * 64}") == Digest.parse(DIGEST)
    assert named_digest(f"share/sha512/{'1' * 128}") == Digest("sha512", "1" * 128)
    for name in ("", "share", "share/", "share/sha256/1", f"share/md5/{'1' * 32}", f"x/sha256/{'1' * 64}",
                 f"share/sha256/x/{'1' * 64}", "share/sha256/../x", "index.json"):  # fmt: skip
        assert named_digest(name) is None


@pytest.mark.parametrize(
    ("parse", "document"),
    [
        (parse_list, b'{"Version":"v1.1.0","List":[%s]}'),
        (parse_list, b'{"Version":"v1.1.0","List":[{"Source":"a","Tag":"b","Images":[%s]}]}'),
        (parse_index, b'{"schemaVersion":2,"manifests":[%s]}'),
        (parse_index, b'{"schemaVersion":2,"manifests":[{"digest":"sha256:%s","size":1,"urls":[%%s]}]}' % (b"a" * 64)),
    ],
)
@pytest.mark.parametrize("value", [b"0", b"{}", b'"ab"', b'{"Digest":""}', b'{"Source":"","Tag":""}'])
def test_a_large_index_of_many_values_is_refused_in_little_memory(
    parse: Callable[[bytes], object], document: bytes, value: bytes
) -> None:
    """Such a file compresses to some KiB."""
    raw = document % b",".join([value] * ((16 << 20) // (len(value) + 1)))
    tracemalloc.start()
    try:
        with pytest.raises(ContentError, match="more than 524,288 values"):
            parse(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([DIGEST, "a" * 64, "v1.1.0"]),
    lambda below: st.lists(below, max_size=3)
    | st.dictionaries(
        st.sampled_from(["List", "Version", "SavedTime", "Source", "Tag", "Images", "Digest", "Folder", "OS", "Arch",
                         "schemaVersion", "manifests", "digest", "size", "mediaType", "annotations", "platform"])
        | st.text(max_size=4), below, max_size=5),
    max_leaves=15,
)  # fmt: skip


@given(json_values)
def test_any_json_is_read_or_refused(value: Any) -> None:
    raw = json.dumps(value).encode("utf-8", "surrogatepass")
    for parse in (parse_list, parse_index, lambda data: parse_folder(data, "f")):
        try:
            parse(raw)
        except ContentError:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for parse in (parse_list, parse_index, lambda data: parse_folder(data, "f")):
        try:
            parse(raw)
        except ContentError:
            continue


@given(st.text(max_size=80), st.text(max_size=20), st.text(max_size=70), st.text(max_size=80))
def test_any_words_are_read_or_refused(source: str, tag: str, folder: str, digest: str) -> None:
    image = {"Digest": digest, "Folder": folder}
    document = listed(List=[{"Source": source, "Tag": tag, "Images": [image]}])
    try:
        parse_list(json.dumps(document).encode())
    except ContentError:
        return
    raise AssertionError("no such words are right")


def test_an_entry_that_is_no_manifest_is_passed_over() -> None:
    entries = [
        index_entry(1, "application/xml"),
        index_entry(2, None),
        index_entry(3, media_types.DOCKER_LIST),
        index_entry(4, media_types.DOCKER_MANIFEST),
        index_entry(5, media_types.OCI_INDEX),
    ]
    assert [one.digest for one in parse_layout_index(index(*entries))] == [digest(number) for number in range(2, 6)]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        json.dumps({"schemaVersion": 2}).encode(),
        index(layers=[]),
        index(mediaType=media_types.OCI_MANIFEST),
        index({"digest": "sha256:short", "size": 1}),
        index({"digest": str(digest(1)), "size": -1}),
    ],
)
def test_an_invalid_index_is_refused(raw: bytes) -> None:
    with pytest.raises(ContentError, match=r"index\.json: "):
        parse_layout_index(raw)
