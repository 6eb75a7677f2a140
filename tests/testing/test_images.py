from __future__ import annotations

import gzip
import hashlib
import io
import json
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard

from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import ImageConfig, Index, Manifest, parse_manifest
from hangar_async.oci.platform import NO_PLATFORM, Platform
from hangar_async.testing.images import (
    CREATED,
    Built,
    Compression,
    IndexEntry,
    attestation,
    files_below,
    image,
    index,
    layer,
    tar_of,
)
from tests.fakes.images import AMD64, ARM64, ARM_V7, WINDOWS, WINDOWS_OLD, foreign_layer, library, tree

INDEXES = {"multi", "docker-list", "attested", "nested", "no-platform", "windows"}


def test_the_same_input_gives_the_same_bytes(images: Mapping[str, Built]) -> None:
    again = library()
    assert {name: built.digest for name, built in images.items()} == {
        name: built.digest for name, built in again.items()
    }
    assert len({built.digest for built in images.values()}) == len(images)


def test_everything_is_whole(images: Mapping[str, Built]) -> None:
    foreign = foreign_layer().digest
    for name, built in images.items():
        assert (name in INDEXES) == built.descriptor.is_index
        assert list(built.documents.items())[-1] == (built.digest, (built.media_type, built.raw))
        seen: set[Digest] = set()
        for digest, (media_type, raw) in built.documents.items():
            document = parse_manifest(raw, media_type)
            assert document.digest == digest == Digest.of(raw)
            if isinstance(document, Index):
                # Children come first, as they have to when they are pushed.
                for entry in document.manifests:
                    assert entry.digest in seen
                    assert entry.size == len(built.documents[entry.digest][1])
            else:
                for blob in (document.config, *document.layers):
                    assert blob.digest == foreign or blob.size == len(built.blobs[blob.digest])
            seen.add(digest)
        assert all(Digest.of(data) == digest for digest, data in built.blobs.items())
        assert foreign not in built.blobs


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("platform", [AMD64, ARM64, ARM_V7, WINDOWS])
def test_an_image(platform: Platform, docker: bool) -> None:
    layers = [layer({"a": b"1"}, docker=docker), layer({"b": b"2"}, "none", docker=docker)]
    built = image(layers, platform, docker=docker, labels={"x": "y"})
    manifest = parse_manifest(built.raw)
    assert isinstance(manifest, Manifest)
    assert manifest.media_type == (media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST)
    assert manifest.is_image
    raw = built.blobs[manifest.config.digest]
    assert ImageConfig.parse(raw, manifest.config.digest) == ImageConfig(platform, CREATED)
    config: dict[str, Any] = json.loads(raw)
    assert config["rootfs"]["diff_ids"] == [str(one.diff_id) for one in layers]
    assert len(config["history"]) == len(layers)
    assert config["config"]["Labels"] == {"x": "y"}
    assert (built.platform, built.descriptor.platform) == (platform, platform)


def entries(built: Built) -> tuple[Any, ...]:
    document = parse_manifest(built.raw)
    assert isinstance(document, Index)
    return document.manifests


def test_indexes(images: Mapping[str, Built]) -> None:
    assert [entry.platform for entry in entries(images["multi"])] == [AMD64, ARM64, ARM_V7]
    assert [entry.platform for entry in entries(images["windows"])] == [WINDOWS, WINDOWS_OLD, AMD64]
    assert [entry.platform for entry in entries(images["no-platform"])] == [None, None]
    assert [entry.is_index for entry in entries(images["nested"])] == [True, False]
    assert images["docker-list"].media_type == media_types.DOCKER_LIST
    assert {entry.media_type for entry in entries(images["docker-list"])} == {media_types.DOCKER_MANIFEST}


def test_attestations_are_as_buildkit_makes_them(images: Mapping[str, Built]) -> None:
    built = images["attested"]
    amd64, arm64, first, second = entries(built)
    assert (first.attests, second.attests) == (str(amd64.digest), str(arm64.digest))
    assert first.platform == NO_PLATFORM
    fields = json.loads(built.raw)["manifests"][2]
    assert fields["platform"] == {"architecture": "unknown", "os": "unknown"}
    manifest = json.loads(built.documents[first.digest][1])
    (proof,) = manifest["layers"]
    assert proof["mediaType"] == "application/vnd.in-toto+json"
    assert "in-toto.io/predicate-type" in proof["annotations"]
    statement = json.loads(built.blobs[Digest.parse(proof["digest"])])
    assert statement["subject"][0]["digest"] == {"sha256": amd64.digest.hex}
    config = json.loads(built.blobs[Digest.parse(manifest["config"]["digest"])])
    assert config["rootfs"]["diff_ids"] == [proof["digest"]]


def test_members_may_be_annotated() -> None:
    one = image([], AMD64)
    (entry,) = entries(index([IndexEntry(one, {"a": "b"})]))
    assert (entry.digest, entry.annotations, entry.platform) == (one.digest, {"a": "b"}, AMD64)
    assert attestation(one) == attestation(one)


def test_artifacts_are_no_images(images: Mapping[str, Built]) -> None:
    manifest = parse_manifest(images["artifact"].raw)
    assert isinstance(manifest, Manifest)
    assert not manifest.is_image
    assert images["artifact"].blobs[manifest.config.digest] == b'{"name":"chart","version":"1.0.0"}'


def test_foreign_layers_are_named_and_not_held(images: Mapping[str, Built]) -> None:
    manifest = parse_manifest(images["foreign"].raw)
    assert isinstance(manifest, Manifest)
    first, second = manifest.layers
    assert first.is_foreign
    assert first.urls == ("http://127.0.0.1:9/layer",)
    assert not second.is_foreign
    assert set(images["foreign"].blobs) == {manifest.config.digest, second.digest}


FILES = {"srv/b.txt": b"b" * 5000, "usr/bin/run": b"#!/bin/sh\n", "srv/a.txt": b"", "var/empty/": b"", "top": b"1"}


def layer_entries(tar: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return archive.getmembers()


def test_a_tar_holds_the_files_behind_their_directories() -> None:
    tar = tar_of(FILES)
    names = ["srv", "srv/a.txt", "srv/b.txt", "top", "usr", "usr/bin", "usr/bin/run", "var", "var/empty"]
    found = layer_entries(tar)
    assert [entry.name for entry in found] == names
    assert {entry.name for entry in found if entry.isdir()} == {"srv", "usr", "usr/bin", "var", "var/empty"}
    assert {entry.name for entry in found if entry.isfile() and entry.mode & stat.S_IXUSR} == {"usr/bin/run"}
    assert {(entry.uid, entry.gid, entry.mtime) for entry in found} == {(0, 0, 0)}
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for name, data in FILES.items():
            file = archive.extractfile(name) if not name.endswith("/") else None
            assert file is None or file.read() == data


def test_the_order_of_the_input_changes_nothing() -> None:
    assert tar_of(FILES) == tar_of(dict(reversed(FILES.items())))


def test_long_and_foreign_names_are_kept() -> None:
    files = tree("names")
    assert set(files) - {"tmp/"} == {entry.name for entry in layer_entries(tar_of(files)) if entry.isfile()}


@pytest.mark.parametrize(
    ("compression", "docker", "ending"),
    [
        ("gzip", False, "vnd.oci.image.layer.v1.tar+gzip"),
        ("zstd", False, "vnd.oci.image.layer.v1.tar+zstd"),
        ("none", False, "vnd.oci.image.layer.v1.tar"),
        ("gzip", True, "vnd.docker.image.rootfs.diff.tar.gzip"),
        ("zstd", True, "vnd.docker.image.rootfs.diff.tar.zstd"),
        ("none", True, "vnd.docker.image.rootfs.diff.tar"),
    ],
)
def test_layers(compression: Compression, docker: bool, ending: str) -> None:
    found = layer(FILES, compression, docker=docker)
    assert found.media_type == f"application/{ending}"
    assert found == layer(dict(FILES), compression, docker=docker)
    assert found.diff_id == Digest.of(tar_of(FILES))
    assert found.fields == {
        "mediaType": found.media_type,
        "digest": f"sha256:{hashlib.sha256(found.data).hexdigest()}",
        "size": len(found.data),
    }
    assert plain(found.data, compression) == tar_of(FILES)


def plain(data: bytes, compression: Compression) -> bytes:
    if compression == "gzip":
        return gzip.decompress(data)
    return zstandard.ZstdDecompressor().decompress(data) if compression == "zstd" else data


def test_a_layer_is_one_blob_whichever_its_type() -> None:
    assert layer(FILES).digest == layer(FILES, docker=True).digest


@pytest.mark.parametrize("docker", [False, True])
def test_foreign_layers(docker: bool) -> None:
    found = layer(FILES, docker=docker, urls=["http://127.0.0.1:9/1", "http://127.0.0.1:9/2"])
    assert found.fields["urls"] == ["http://127.0.0.1:9/1", "http://127.0.0.1:9/2"]
    assert ("foreign" in found.media_type) == docker
    assert ("nondistributable" in found.media_type) != docker


def test_files_below_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"1")
    (tmp_path / "top").write_bytes(b"2")
    (tmp_path / "link").symlink_to("top")
    assert files_below(tmp_path, "opt/") == {"opt/a/b/file": b"1", "opt/top": b"2"}
