"""A docker-archive becomes an image layout, whose layers are compressed while they are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hangar_async.archive.read.archive import open_archive
from hangar_async.archive.read.docker import DockerLayout
from hangar_async.archive.read.forms import archive_layout
from hangar_async.errors import ContentError
from hangar_async.layout.images import read_images
from hangar_async.oci import Manifest
from hangar_async.testing.images import image, layer
from tests.fakes.images import AMD64
from tests.fakes.sources import docker, tar

BUILT = image([layer({"a": b"a" * 5000}, "none"), layer({"b": b"b" * 5000}, "none")], AMD64)
Saved = dict[str, bytes | str]


def opened(tmp_path: Path, files: Saved) -> DockerLayout:
    (tmp_path / "saved.tar").write_bytes(tar(files))
    layout = archive_layout(open_archive(tmp_path / "saved.tar"))
    assert isinstance(layout, DockerLayout)
    return layout


def only_layer(files: Saved) -> str:
    return next(name for name in files if name.endswith(".tar"))


def test_a_layer_that_is_compressed_stays_as_it_is(tmp_path: Path) -> None:
    """As in what `extract` writes."""
    built = image([layer({"a": b"1"}, "gzip"), layer({"b": b"2"}, "zstd")], AMD64)
    (found,) = read_images(opened(tmp_path, docker(built))).images
    manifest = found.root_document()
    assert isinstance(manifest, Manifest)
    assert [one.digest for one in manifest.layers] == list(built.blobs)[-2:] or set(manifest.layers)
    assert {one.digest for one in manifest.layers} < set(built.blobs)
    assert [one.media_type.rpartition("+")[2] for one in manifest.layers] == ["gzip", "zstd"]


def test_an_image_without_a_name_has_its_digest(tmp_path: Path) -> None:
    (found,) = read_images(opened(tmp_path, docker(BUILT, tags=()))).images
    assert not found.named
    assert found.reference.cache_name == f"localhost/saved:{found.digest}".replace("sha256:", "sha256-")


def test_a_damaged_layer_fails_its_image_alone(tmp_path: Path) -> None:
    files = docker(BUILT)
    other = docker(image([layer({"c": b"c"}, "none")], AMD64), tags=["other:1"])
    listed = [*json.loads(files["manifest.json"]), *json.loads(other["manifest.json"])]
    files = {**files, **other, "manifest.json": json.dumps(listed).encode()}
    files[only_layer(files)] = b"damaged" * 1000
    first, second = read_images(opened(tmp_path, files)).images
    assert "is damaged: its bytes have the digest" in first.problems[0]
    assert second.problems == ()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("manifest.json", b'[{"Config": 1}]', r"manifest\.json cannot be read"),
        ("manifest.json", b'[{"Config": "none.json"}]', r"'none\.json', which manifest\.json names, is not in saved"),
        ("config", b"{}", "is damaged: its bytes have the digest"),
        ("layer", "../../../etc/passwd", "which manifest.json names, is not in saved"),
        ("layer", "layer-of-none", "which manifest.json names, is not in saved"),
    ],
)
def test_what_its_list_names_has_to_be_there(tmp_path: Path, name: str, content: bytes | str, said: str) -> None:
    files = docker(BUILT)
    config = next(one for one in files if one.endswith(".json"))
    files[{"config": config, "layer": only_layer(files)}.get(name, name)] = content
    with pytest.raises(ContentError, match=said):
        opened(tmp_path, files)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    files = docker(BUILT)
    name = only_layer(files)
    files[name] = "round"
    files["round"] = name
    with pytest.raises(ContentError, match="is not in saved"):
        opened(tmp_path, files)


def test_another_number_of_layers_is_refused(tmp_path: Path) -> None:
    files = docker(BUILT)
    (entry,) = json.loads(files["manifest.json"])
    entry["Layers"].pop()
    with pytest.raises(ContentError, match=r"has 2 layers, and manifest\.json 1"):
        opened(tmp_path, {**files, "manifest.json": json.dumps([entry]).encode()})


def test_a_list_has_a_bounded_size(tmp_path: Path) -> None:
    files = docker(BUILT)
    with pytest.raises(ContentError, match=r"manifest\.json"):
        opened(tmp_path, {**files, "manifest.json": b"[" + b" " * (16 << 20) + b"]"})


def test_more_names_than_any_archive_has_are_refused(tmp_path: Path) -> None:
    files = docker(BUILT)
    (entry,) = json.loads(files["manifest.json"])
    entry["RepoTags"] = ["a:1"] * 400_000
    with pytest.raises(ContentError):
        opened(tmp_path, {**files, "manifest.json": json.dumps([entry, entry]).encode()})
