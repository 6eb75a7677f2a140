from __future__ import annotations

import gzip
import hashlib
import io
import stat
import tarfile
from pathlib import Path

import pytest
import zstandard

from hangar_async.oci.digest import Digest
from hangar_async.testing.layers import Compression, files_below, layer, tar_of
from tests.fakes.images import tree

FILES = {"srv/b.txt": b"b" * 5000, "usr/bin/run": b"#!/bin/sh\n", "srv/a.txt": b"", "var/empty/": b"", "top": b"1"}


def entries(tar: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return archive.getmembers()


def test_a_tar_holds_the_files_behind_their_directories() -> None:
    tar = tar_of(FILES)
    names = ["srv", "srv/a.txt", "srv/b.txt", "top", "usr", "usr/bin", "usr/bin/run", "var", "var/empty"]
    found = entries(tar)
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
    assert set(files) - {"tmp/"} == {entry.name for entry in entries(tar_of(files)) if entry.isfile()}


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
