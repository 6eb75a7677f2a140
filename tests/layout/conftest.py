"""Fixtures of this room."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from hangar_async.testing.images import Built
from tests.engine.conftest import everything, partial
from tests.engine.made import make_layout
from tests.layout.rig import BLOB, LARGE, REF

__all__ = ["everything", "partial"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with files of the format, and with what is passed over."""
    files = {
        BLOB: b"blob",
        LARGE: bytes(range(256)) * 12_345,
        "index.json": b"{}",
        f"{'f' * 64}/index.json": b"{}",
        "empty": b"",
        ".lock": b"hidden",
        ".partial/x": b"hidden",
        "share/.hidden": b"hidden",
        "a/b/c/too-deep": b"deep",
    }
    for name, data in files.items():
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "cache" / "blobs").symlink_to("share")
    (tmp_path / "cache" / "link.json").symlink_to("index.json")
    (tmp_path / "cache" / "up").symlink_to("..")
    os.mkfifo(tmp_path / "cache" / "pipe")
    return tmp_path / "cache"


CONTAINERD = "io.containerd.image.name"


@pytest.fixture
def foreign_layout(tmp_path: Path, images: Mapping[str, Built]) -> Path:
    """A layout with one image of each kind, each named in another way."""
    named = {name: {REF: f"registry.example.com/{name}:1"} for name in images}
    named["oci"] = {CONTAINERD: "docker.io/library/oci:1", REF: "1"}
    named["docker"] = {REF: "latest"}
    named["artifact"] = {}
    return make_layout(tmp_path / "images", ((images[name], found) for name, found in named.items()))
