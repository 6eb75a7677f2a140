"""Manifests are read from a layout, one after the other, within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hangar_async.errors import ContentError
from hangar_async.layout import limits, manifest_loader
from hangar_async.oci import graph
from hangar_async.oci.manifest import MAX_DOCUMENT
from tests.engine.forms import Saved
from tests.layout.rig import Made, read


def test_documents_of_more_than_a_piece_are_read_whole(everything: Saved, tmp_path: Path) -> None:
    root = everything.copy("dir", tmp_path)
    for name in ("index.json", "saved-images-list.json"):
        data = (root / name).read_text()
        (root / name).write_text(data.rstrip().removesuffix("}") + " " * (3 << 20) + "}")
    assert all(not image.problems for image in read(root).images)


def test_many_large_documents_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MAX_ENTRIES", 10_000)
    monkeypatch.setattr(limits, "_BYTES_AN_ENTRY", 1 << 30)
    made = Made(tmp_path)
    for number in range(3):
        manifest = made.manifest(4_000, str(number))
        made.image(f"a{number}", manifest, manifest)
    with pytest.raises(ContentError, match="more than 10,000 blobs"):
        made.read()


def test_a_document_of_more_than_4_mib_is_a_problem(tmp_path: Path) -> None:
    made = Made(tmp_path)
    manifest = made.manifest(60_000)
    assert manifest["size"] > MAX_DOCUMENT
    made.image("large", manifest, manifest)
    (image,) = made.read().images
    assert "more than the 4194304" in image.problems[0]


def test_documents_are_read_one_after_the_other(everything: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are, one is in memory."""
    held = 0
    most = 0
    real = manifest_loader._content

    def watch(file: Any) -> Any:
        nonlocal held, most
        held += 1
        most = max(most, held)
        found = real(file)
        held -= 1
        return found

    monkeypatch.setattr(manifest_loader, "_content", watch)
    read(everything.at("gzip"))
    assert most == 1
