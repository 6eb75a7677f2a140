import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hangar_async.layout import files
from hangar_async.layout.files import EPOCH, cache_files, cache_pieces, folder_files, folder_names, newest
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image, ImagePlatform
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.media_types import OCI_INDEX, OCI_MANIFEST
from hangar_async.oci.platform import Platform
from hangar_async.oci.reference import Reference

NGINX = Reference.parse("nginx:1.22")
ONE, TWO = Digest.of(b"1"), Digest.of(b"2")


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_folders_are_hangars() -> None:
    manifests = [(ONE, Platform("linux", "amd64")), (TWO, Platform("linux", "arm", "v7"))]
    assert folder_names(NGINX, manifests) == [
        sha("docker.io/library/nginx:1.22-amd64"),
        sha("docker.io/library/nginx:1.22-armv7"),
    ]


def test_of_two_equal_folders_the_later_is_told_apart_by_its_digest() -> None:
    manifests = [(ONE, Platform("linux", "amd64", "v1")), (TWO, Platform("linux", "amd64", "v3"))]
    assert folder_names(NGINX, manifests) == [
        sha("docker.io/library/nginx:1.22-amd64"),
        sha(f"docker.io/library/nginx:1.22-amd64-{TWO.hex[:12]}"),
    ]


def test_an_image_by_digest_has_its_digest_for_a_tag() -> None:
    reference = Reference.parse(f"quay.io/a@{ONE}")
    assert folder_names(reference, [(ONE, Platform("linux", "amd64"))]) == [sha(f"quay.io/a:sha256-{ONE.hex}-amd64")]


def _image() -> Image:
    descriptor = Descriptor(OCI_MANIFEST, ONE, 7, Platform("linux", "amd64"))
    root = Descriptor(OCI_INDEX, TWO, 9)
    return Image(NGINX, root, (ImagePlatform(descriptor, "f" * 64),), original=ONE)


def test_files_of_the_cache() -> None:
    files = cache_files([_image()], datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert list(files) == ["oci-layout", "index.json", "saved-images-list.json"]
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    annotations = {
        "org.opencontainers.image.ref.name": "docker.io/library/nginx:1.22",
        "io.hangar-async.original.digest": str(ONE),
    }
    entry = {"mediaType": OCI_INDEX, "digest": str(TWO), "size": 9, "annotations": annotations}
    assert json.loads(files["index.json"]) == {"schemaVersion": 2, "manifests": [entry]}
    saved = {"Digest": str(ONE), "Arch": "amd64", "OS": "linux", "OsVersion": "", "Variant": "", "Folder": "f" * 64}
    assert json.loads(files["saved-images-list.json"]) == {
        "List": [{"Source": "docker.io/library/nginx", "Tag": "1.22", "ArchList": ["amd64"], "Images": [saved]}],
        "Version": "v1.1.0",
        "SavedTime": "2024-01-02T03:04:05Z",
    }


@pytest.mark.parametrize("count", [0, 1, 3])
def test_files_in_pieces_are_those_of_a_whole_document(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(files, "_PIECE", 1)
    for name, pieces in cache_pieces([_image()] * count, EPOCH).items():
        data = b"".join(pieces)
        document = json.loads(data)
        assert name == "oci-layout" or data == json.dumps(document, indent=2).encode() + b"\n"
        assert data == cache_files([_image()] * count, EPOCH)[name]
        assert name == "oci-layout" or len(document.get("manifests", document.get("List"))) == count


def test_files_of_a_folder() -> None:
    files = folder_files(_image().platforms[0])
    index = json.loads(files["f" * 64 + "/index.json"])
    platform = {"architecture": "amd64", "os": "linux"}
    assert index["manifests"] == [{"mediaType": OCI_MANIFEST, "digest": str(ONE), "size": 7, "platform": platform}]


@pytest.mark.parametrize(
    ("created", "moment"),
    [
        ([], "1970-01-01T00:00:00+00:00"),
        (["", "yesterday", "0001-01-01T00:00:00Z"], "1970-01-01T00:00:00+00:00"),
        (["2024-01-01T00:00:00.123456789Z", "2023-01-01T00:00:00Z"], "2024-01-01T00:00:00+00:00"),
        (["2024-01-01T01:00:00+02:00"], "2023-12-31T23:00:00+00:00"),
        (["9999-12-31T23:59:59-23:59", "2020-01-01T00:00:00Z"], "2020-01-01T00:00:00+00:00"),
        (["2024-01-01T00:00:00"], "1970-01-01T00:00:00+00:00"),
    ],
)
def test_the_newest_time_that_can_be_read(created: list[str], moment: str) -> None:
    assert newest(created).replace(microsecond=0).isoformat() == moment


_stamps = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z") | st.text("0123456789-:.TZ+ ", max_size=25)


@given(st.lists(_stamps | st.text(max_size=12), max_size=4))
def test_any_times_have_a_newest(created: list[str]) -> None:
    moment = newest(created)
    assert moment >= EPOCH
    assert newest([*created, moment.isoformat()]) == moment
    assert newest(created[::-1]) == moment


_few = st.sampled_from(["linux", "amd64", "arm", "v7", ""])


@given(st.lists(st.tuples(st.integers(0, 99), st.builds(Platform, _few, _few, _few, _few)), max_size=6, unique=True))
def test_every_manifest_has_a_folder_of_its_own(manifests: list[tuple[int, Platform]]) -> None:
    named = [(Digest.of(bytes([number])), platform) for number, platform in dict(manifests).items()]
    names = folder_names(NGINX, named)
    assert len(set(names)) == len(named)
    assert names == folder_names(NGINX, named)
    assert all(len(bytes.fromhex(name)) == 32 for name in names)


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 62), 1 << 62) | _TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(_TEXTS, values, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(_TEXTS, _VALUES, max_size=4))
def test_a_document_has_the_bytes_that_python_writes(document: dict[str, Any]) -> None:
    """Archives of the same content stay the same in each release."""
    assert files._dump(document) == json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
