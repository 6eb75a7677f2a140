"""Files of other programs are shown under the names of a cache."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from hangar_async.archive.read.forms import directory_layout
from hangar_async.errors import ContentError
from hangar_async.layout.foreign import BytesReader, ForeignLayout, seekable
from hangar_async.layout.images import read_images
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import index
from tests.engine.made import make_layout
from tests.fakes.images import ARM64, small
from tests.fakes.sources import skopeo_directory, unpacked
from tests.layout.rig import REF


def test_a_layout_is_shown_as_a_cache(tmp_path: Path) -> None:
    files = {"oci-layout": b"{}", "index.json": b"[]", f"blobs/sha256/{'a' * 64}": b"data", "blobs/sha256/x": b"no"}
    layout = directory_layout(unpacked(tmp_path, {**files, "manifest.json": b"[]"}))
    assert isinstance(layout, ForeignLayout)
    shown = f"share/sha256/{'a' * 64}"
    assert layout.sizes() == {shown: 4, "index.json": 2, "oci-layout": 2}
    buffer = memoryview(bytearray(10))
    reader = layout.open(shown, 1)
    assert bytes(buffer[: reader.readinto(buffer)]) == b"ata"
    reader.close()
    (file,) = layout.files([shown])
    assert (b"".join(map(bytes, file.pieces)), file.digest) == (b"data", Digest("sha256", "a" * 64))


def test_what_is_made_is_read_as_the_rest(tmp_path: Path) -> None:
    layout = directory_layout(unpacked(tmp_path / "x", skopeo_directory(small("app"))))
    assert isinstance(layout, ForeignLayout)
    layout.make("oci-layout", b"{}")
    assert layout.sizes()["oci-layout"] == 2
    reader = seekable(layout).open("oci-layout", 1)
    assert isinstance(reader, BytesReader)
    reader.check()
    assert reader.read() == b"}"
    assert [file.name for file in layout.files(["oci-layout", "none"])] == ["oci-layout"]


def test_content_that_is_in_its_descriptor_alone_is_there(tmp_path: Path) -> None:
    """As clients write the empty config of an artifact, and small manifests into an index."""
    built = small("app")
    path = make_layout(tmp_path / "a", [(built, {REF: "app:1"})])
    index = json.loads((path / "index.json").read_bytes())
    index["manifests"][0]["data"] = base64.b64encode(built.raw).decode()
    (path / "index.json").write_text(json.dumps(index))
    (path / "blobs" / "sha256" / built.digest.hex).unlink()
    (image,) = read_images(directory_layout(path)).images
    assert image.problems == ()
    index["manifests"][0]["data"] = base64.b64encode(built.raw + b" ").decode()
    (path / "index.json").write_text(json.dumps(index))
    (image,) = read_images(directory_layout(path)).images
    assert image.problems == (f"manifest {built.digest} is missing",)


def test_a_list_of_any_size_is_not_read(tmp_path: Path) -> None:
    files = {**skopeo_directory(small("app")), "manifest.json": b" " * (5 << 20)}
    with pytest.raises(ContentError, match=r"manifest\.json has 5242880 bytes"):
        directory_layout(unpacked(tmp_path, files))


@pytest.mark.parametrize("kind", ["blob", "manifest", "manifest of an index"])
def test_a_blob_that_is_a_link_is_told_as_such(tmp_path: Path, kind: str) -> None:
    """As in the stores of programs that link what they share."""
    part = small("app")
    built = index([part, small("arm", platform=ARM64)]) if kind == "manifest of an index" else part
    path = make_layout(tmp_path / "a", [(built, {REF: "app:1"})])
    blob = path / "blobs" / "sha256" / (next(iter(part.blobs)) if kind == "blob" else part.digest).hex
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    (image,) = read_images(directory_layout(path)).images
    (problem,) = image.problems
    assert "is a symbolic link, which is not followed" in problem


def test_damage_here_is_not_blamed_on_a_registry(tmp_path: Path) -> None:
    path = make_layout(tmp_path / "a", [(small("app"), {})])
    (path / "index.json").write_bytes(b"{}")
    with pytest.raises(ContentError) as caught:
        read_images(directory_layout(path))
    assert "registry" not in caught.value.advice
    assert "verify" in caught.value.advice
