"""What Docker before 1.10 saved becomes an image of today, whatever holds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hangar_async.archive.read.archive import open_archive
from hangar_async.archive.read.docker_old import old_images
from hangar_async.archive.read.forms import archive_layout
from hangar_async.errors import ContentError
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.images import read_images
from hangar_async.oci import Digest, Image, verified
from hangar_async.testing.images import image, layer
from tests.fakes.images import AMD64
from tests.fakes.sources import COMPRESSIONS, Files, docker_before_1_10, tar, unpacked

BUILT = image([layer({"a": b"a" * 5000}, "none"), layer({"b": b"b" * 5000}, "none")], AMD64)
TOP = f"{2:064x}"


def read(path: Path, data: bytes) -> tuple[tuple[Image, ...], dict[str, Any]]:
    """Read the images of an archive, all files of it, and the config of the first image."""
    path.write_bytes(data)
    layout = archive_layout(open_archive(path))
    images = read_images(layout).images
    contents = {
        file.name: b"".join(map(bytes, verified(file.pieces, file.digest, file.size))) for file in layout.files()
    }
    config = images[0].root_document().config.digest  # type: ignore[union-attr]
    return images, json.loads(contents[f"share/sha256/{config.hex}"])


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_layers_and_their_json_are_made_an_image(tmp_path: Path, compression: str) -> None:
    files = docker_before_1_10(BUILT, {"busybox": "1", "reg.io/team/app": "2"})
    images, config = read(tmp_path / "saved.tar", COMPRESSIONS[compression](tar(files)))
    assert [one.name for one in images] == ["docker.io/library/busybox:1", "reg.io/team/app:2"]
    assert [(one.problems, str(one.platforms[0].platform)) for one in images] == [((), "linux/amd64")] * 2
    assert config == {
        "created": "2015-01-02T00:00:00Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["run"]},
        "container_config": {"Cmd": ["/bin/sh", "-c", "step 2"]},
        "rootfs": {
            "type": "layers",
            "diff_ids": [str(Digest.of(data)) for name, data in files.items() if name.endswith("/layer.tar")],
        },
        "history": [
            {"created": f"2015-01-0{number}T00:00:00Z", "created_by": f"/bin/sh -c step {number}"} for number in (1, 2)
        ],
    }


def test_an_image_without_a_name_is_the_layer_that_is_no_parent(tmp_path: Path) -> None:
    ((found,), config) = read(tmp_path / "saved.tar", tar(docker_before_1_10(BUILT)))
    assert (found.named, found.problems, len(config["history"])) == (False, (), 2)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({f"{TOP}/json": b"{"}, "json cannot be read"),
        ({f"{TOP}/json": b'{"parent": "gone"}'}, "the layer 'gone', which its JSON names, is not there"),
        ({f"{TOP}/json": b'{"parent": 7}'}, "the layer '7'"),
        ({f"{TOP}/json": b'{"parent": [7]}'}, "the layer '.7.'"),
        (
            {f"{TOP}/json": json.dumps({"parent": TOP}).encode(), "repositories": b'{"a": {"1": "%s"}}' % TOP.encode()},
            TOP,
        ),
        ({"repositories": b'{"a": {"1": "gone"}}'}, "the layer 'gone'"),
        ({"repositories": b"[]"}, "repositories cannot be read"),
        ({"repositories": b" " * (17 << 20)}, "has more than 16777216 bytes"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, changed: Files, said: str) -> None:
    root = unpacked(tmp_path / "saved", {**docker_before_1_10(BUILT), **changed})
    with pytest.raises(ContentError, match=said):
        old_images(DirectoryLayout(root))


def test_other_forms_are_none(tmp_path: Path) -> None:
    assert old_images(DirectoryLayout(unpacked(tmp_path, {f"{TOP}/json": b"{}", "repositories": b"{}"}))) == []
