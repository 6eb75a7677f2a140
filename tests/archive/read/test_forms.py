"""Sources of other programs are told by their content, whatever holds them and whatever they are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hangar_async.archive.read.archive import open_archive
from hangar_async.archive.read.forms import TarLayout, archive_layout, directory_layout
from hangar_async.errors import ArchiveError, ContentError
from hangar_async.layout.files import Layout
from hangar_async.layout.foreign import ForeignLayout, seekable
from hangar_async.layout.images import read_images
from hangar_async.oci import Image, verified
from hangar_async.testing.images import Built, image, layer
from tests.archive.read.rig import LAYOUT_BLOBS
from tests.archive.samples import MIB, noise, unpacked as unpacked_tar, write
from tests.fakes.images import AMD64, ARM64, small
from tests.fakes.sources import (
    COMPRESSIONS,
    NAME,
    Files,
    docker,
    hangar_zip,
    haul,
    named_oci,
    skopeo_directory,
    tar,
    unpacked,
    zipped,
)

#: An image of plain layers, one of them longer than what is read at once.
PLAIN = image([layer({"a": noise(3 * MIB)}, "none"), layer({"b": b"text" * 1000}, "none")], AMD64)


def written(path: Path, data: bytes) -> Layout:
    path.write_bytes(data)
    return archive_layout(open_archive(path))


def check(layout: Layout) -> Image:
    """Read the only image of a layout and all its files, each whole and, where that can be, from its middle on."""
    (found,) = read_images(layout).images
    assert found.problems == ()
    contents = {}
    for file in layout.files():
        contents[file.name] = b"".join(map(bytes, verified(file.pieces, file.digest, file.size)))
    assert {name: len(data) for name, data in contents.items()} == dict(layout.sizes())
    assert {f"share/sha256/{content.digest.hex}" for content in found.contents} <= contents.keys()
    for name, data in contents.items() if layout.is_seekable else ():
        reader = seekable(layout).open(name, len(data) // 2)
        rest = bytearray(len(data) + 1)
        done = 0
        while count := reader.readinto(memoryview(rest)[done:]):
            done += count
        reader.check()
        reader.close()
        assert rest[:done] == data[len(data) // 2 :]
    return found


@pytest.mark.parametrize("prefix", ["", "./", "folder/", "./folder/"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_oci_archive(tmp_path: Path, images: Mapping[str, Built], compression: str, prefix: str) -> None:
    layout = written(tmp_path / "any.name", COMPRESSIONS[compression](tar(named_oci(images["multi"]), prefix)))
    found = check(layout)
    assert (found.name, found.digest) == (NAME, images["multi"].digest)
    assert layout.is_seekable == (compression == "tar")


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("old", [False, True])
def test_a_docker_archive_is_made_an_image_whose_layers_are_compressed(
    tmp_path: Path, compression: str, old: bool
) -> None:
    data = tar(docker(PLAIN, old=old))
    layout = written(tmp_path / "saved", COMPRESSIONS[compression](data))
    found = check(layout)
    assert found.name == NAME
    # Whatever holds the archive, it becomes the same image.
    assert found.digest == check(written(tmp_path / "other", tar(docker(PLAIN)))).digest
    assert {content.media_type.rpartition(".")[2] for content in found.blobs} == {"v1+json", "tar+gzip"}
    assert found.size < sum(map(len, PLAIN.blobs.values()))


def test_several_images_and_several_names_of_one(tmp_path: Path) -> None:
    both = docker(PLAIN, tags=["a:1", "b:2"])
    layout = written(tmp_path / "saved", tar(both))
    images = read_images(layout).images
    assert [one.name for one in images] == ["docker.io/library/a:1", "docker.io/library/b:2"]
    assert images[0].digest == images[1].digest


@pytest.mark.parametrize("name", ["multi", "oci"])
def test_a_directory_of_skopeo(tmp_path: Path, images: Mapping[str, Built], name: str) -> None:
    files = skopeo_directory(images[name])
    found = check(directory_layout(unpacked(tmp_path / "My_Dir", files)))
    assert found.digest == images[name].digest
    assert not found.named
    assert found.reference.repository == "my_dir"
    assert check(written(tmp_path / "x.tar", tar(files))).digest == images[name].digest


@pytest.mark.parametrize("compression", ["tar", "gzip"])
@pytest.mark.parametrize("files", [docker(PLAIN, old=True), skopeo_directory(PLAIN)], ids=["docker", "skopeo"])
def test_a_tar_of_the_directory_of_a_source(tmp_path: Path, files: Files, compression: str) -> None:
    whole = check(written(tmp_path / "source.tar", tar(files)))
    inside = check(written(tmp_path / "source", COMPRESSIONS[compression](tar(files, "./My Dir/"))))
    assert (inside.name, inside.digest) == (whole.name, whole.digest)
    two = {**{f"a/{name}": content for name, content in files.items()}, "b/file": b""}
    with pytest.raises(ContentError, match="there are no images in it"):
        read_images(written(tmp_path / "two.tar", tar(two)))


@pytest.mark.parametrize("method", [0, 8])
def test_a_zip_of_hangar(tmp_path: Path, images: Mapping[str, Built], method: int) -> None:
    files = hangar_zip("registry.example.com/team/app", "1", images["multi"])
    layout = written(tmp_path / "saved", zipped(files, method))
    found = check(layout)
    assert found.name == NAME
    assert [str(one.platform) for one in found.platforms] == ["linux/amd64", "linux/arm64", "linux/arm"]
    assert read_images(layout).saved == "2025-01-02T03:04:05.678Z"
    with pytest.raises(ContentError, match="version 'v3'"):
        written(tmp_path / "new", zipped(hangar_zip("a.io/app", "1", images["oci"], "v3")))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_our_archive_after_its_decompression(tmp_path: Path, compression: str) -> None:
    """In place where it is a tar, and under the rules for our names."""
    write(tmp_path / "own", "gzip", LAYOUT_BLOBS, sync=False)
    own = archive_layout(open_archive(tmp_path / "own"))
    layout = written(tmp_path / "x", COMPRESSIONS[compression](unpacked_tar((tmp_path / "own").read_bytes())))
    assert layout.sizes() == own.sizes()
    assert isinstance(layout, TarLayout) == (compression == "tar")
    for first, second in zip(layout.files(), own.files(), strict=True):
        assert (first.name, b"".join(map(bytes, first.pieces))) == (second.name, b"".join(map(bytes, second.pieces)))


def test_a_haul_names_the_image_before_its_signature(tmp_path: Path) -> None:
    built, signature = small("app"), small("signature")
    layout = written(tmp_path / "haul.tar.zst", COMPRESSIONS["zstd"](tar(haul(built, signature))))
    first, second = read_images(layout).images
    assert (first.name, first.digest) == (NAME, built.digest)
    assert second.reference.tag == f"{built.digest.tag}.sig"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"../oci-layout": b"{}"}, "leads out"),
        ({"/index.json": b"{}"}, "leads out"),
        ({"a/../../b": b""}, "leads out"),
        ({"x" * 1001: b""}, "too long"),
        ({"a": b"", "./a": b""}, "is there twice"),
        ({"a": b"", "./a": "b"}, "is there twice"),
    ],
)
@pytest.mark.parametrize("compression", ["tar", "gzip"])
def test_names_that_no_source_has(tmp_path: Path, files: Files, said: str, compression: str) -> None:
    data = COMPRESSIONS[compression](tar(files))
    with pytest.raises(ArchiveError, match=said):
        written(tmp_path / "x", data)


def test_a_tar_that_was_cut_is_told(tmp_path: Path, images: Mapping[str, Built]) -> None:
    data = tar(named_oci(images["oci"]))
    for size in (len(data) // 2, 3000):
        with pytest.raises(ArchiveError, match="the tar ends too early"):
            written(tmp_path / "x", data[:size])


def test_several_layouts_in_one_tar_are_told(tmp_path: Path) -> None:
    files = named_oci(small("app"))
    both = {f"{name}/{file}": content for name in ("a", "b") for file, content in files.items()}
    with pytest.raises(ContentError, match="there are 2 OCI image layouts in x: a/, b/"):
        written(tmp_path / "x", tar(both))


def test_anything_else_has_no_images(tmp_path: Path) -> None:
    layout = written(tmp_path / "x", tar({"etc/passwd": b"root"}))
    assert not isinstance(layout, ForeignLayout)
    with pytest.raises(ContentError, match="there are no images in it"):
        read_images(layout)


@pytest.mark.parametrize("name", ["saved-images-list.json", "share/sha256/x"])
def test_a_cache_is_no_foreign_layout(tmp_path: Path, name: str) -> None:
    unpacked(tmp_path, {"oci-layout": b"{}", "index.json": b"{}", name: b""})
    assert not isinstance(directory_layout(tmp_path), ForeignLayout)


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
def test_without_its_files_it_is_no_layout(tmp_path: Path, name: str) -> None:
    unpacked(tmp_path, {name: b"{}"})
    assert not isinstance(directory_layout(tmp_path), ForeignLayout)


def test_a_plain_tar_is_stepped_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its headers are read, and no content."""
    built = image([layer({"big": noise(5 * MIB)})], ARM64)
    (tmp_path / "x").write_bytes(tar(named_oci(built)))
    calls: list[None] = []
    layout = archive_layout(open_archive(tmp_path / "x"), lambda: calls.append(None))
    assert isinstance(layout, ForeignLayout)
    assert len(calls) < 30
