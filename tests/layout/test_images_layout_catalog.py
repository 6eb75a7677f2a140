"""Layouts of other programs: every kind of image, with and without names, whole and not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from hangar_async.config.options import CompressOptions, ExtractOptions, ListOptions, VerifyOptions
from hangar_async.config.output import OutputSettings
from hangar_async.engine.compress import compress
from hangar_async.engine.extract import extract
from hangar_async.engine.ls import ls
from hangar_async.engine.open_layout import layout_at
from hangar_async.engine.verify import verify
from hangar_async.errors import ContentError
from hangar_async.layout.images import LayoutImages, read_images
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image
from hangar_async.testing.images import Built, IndexEntry, index
from hangar_async.threads import in_thread
from tests.engine.made import dump, make_layout

REF = "org.opencontainers.image.ref.name"
CONTAINERD = "io.containerd.image.name"


def read(path: Path) -> LayoutImages:
    return read_images(layout_at(path, None, lambda: None))


def only(path: Path) -> Image:
    (image,) = read(path).images
    return image


@pytest.fixture
def layout(tmp_path: Path, images: Mapping[str, Built]) -> Path:
    """A layout with one image of each kind, each named in another way."""
    named = {name: {REF: f"registry.example.com/{name}:1"} for name in images}
    named["oci"] = {CONTAINERD: "docker.io/library/oci:1", REF: "1"}
    named["docker"] = {REF: "latest"}
    named["artifact"] = {}
    return make_layout(tmp_path / "images", ((images[name], found) for name, found in named.items()))


async def test_every_kind_of_image_is_listed(layout: Path, images: Mapping[str, Built]) -> None:
    listing = await ls(ListOptions(layout))
    assert (listing.format, listing.indexed, listing.incomplete) == ("dir", True, ())
    names = {image.name: image for image in listing.images}
    assert len(names) == len(images)
    assert names["docker.io/library/oci:1"].digest == images["oci"].digest
    assert names["localhost/images:latest"].digest == images["docker"].digest
    assert names[str(images["artifact"].digest)].digest == images["artifact"].digest
    for name, built in images.items():
        if name in ("oci", "docker", "artifact"):
            continue
        image = names[f"registry.example.com/{name}:1"]
        assert image.digest == built.digest
        assert {one.digest for one in image.contents} == {*built.documents, *built.blobs}


def test_platforms_are_read_of_indexes_and_configs(layout: Path) -> None:
    found = {image.name.split("/")[-1]: [str(one.platform) for one in image.platforms] for image in read(layout).images}
    assert found["multi:1"] == ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"]
    assert found["nested:1"] == ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"]
    assert found["attested:1"] == found["no-platform:1"] == ["linux/amd64", "linux/arm64/v8"]
    assert found["oci:1"] == found["images:latest"] == ["linux/amd64"]
    assert found["foreign:1"] == ["windows/amd64 (10.0.20348.2113)"]
    (artifact,) = [image for image in read(layout).images if not image.named]
    assert [str(one.platform) for one in artifact.platforms] == ["unknown/unknown"]


async def test_it_is_verified(layout: Path, images: Mapping[str, Built]) -> None:
    verdict = await verify(VerifyOptions(layout))
    assert verdict.problems == ()
    assert len(verdict.images) == len(images)
    digest = next(iter(images["zstd"].blobs))
    (layout / "blobs" / digest.algorithm / digest.hex).write_bytes(b"damaged")
    problems = "\n".join((await verify(VerifyOptions(layout))).problems)
    assert f"registry.example.com/zstd:1: needs the damaged blob {digest}" in problems


@pytest.mark.parametrize("platform", [None, "linux/arm64"])
async def test_images_are_extracted(
    layout: Path, images: Mapping[str, Built], tmp_path: Path, platform: str | None
) -> None:
    name = "registry.example.com/multi:1"
    await extract(ExtractOptions(source=layout, image=name, destination=tmp_path / "out", platform=platform))
    image = await in_thread(only, tmp_path / "out")
    assert (image.name, image.problems) == (name, ())
    assert (image.digest == images["multi"].digest) is (platform is None)


async def test_one_without_a_name_is_extracted_by_its_digest(
    layout: Path, images: Mapping[str, Built], tmp_path: Path
) -> None:
    digest = images["artifact"].digest
    await extract(ExtractOptions(source=layout, image=str(digest), destination=tmp_path / "out"))
    image = await in_thread(only, tmp_path / "out")
    assert image.digest == digest
    assert image.reference.digest == digest


def test_an_index_of_which_a_part_is_there(tmp_path: Path, images: Mapping[str, Built]) -> None:
    """As containerd exports one platform."""
    path = make_layout(tmp_path / "part", [(images["multi"], {REF: "app:1"})])
    (arm,) = [one for one in only(path).platforms if "v7" in str(one.platform)]
    (path / "blobs" / "sha256" / arm.descriptor.digest.hex).unlink()
    image = only(path)
    assert image.problems == (f"manifest {arm.descriptor.digest} is missing",)
    assert [str(one.platform) for one in image.platforms] == ["linux/amd64", "linux/arm64/v8"]


def test_an_attestation_that_no_annotation_tells_is_no_platform(tmp_path: Path, images: Mapping[str, Built]) -> None:
    attested = json.loads(images["attested"].raw)
    built = [
        Built(raw, kind, {digest: (kind, raw)}, images["attested"].blobs)
        for digest, (kind, raw) in images["attested"].documents.items()
        if kind == media_types.OCI_MANIFEST
    ]
    assert len(built) == len(attested["manifests"]) == 4
    root = index(IndexEntry(one, with_platform=False) for one in built)
    path = make_layout(tmp_path / "plain", [(root, {REF: "app:1"})])
    assert [str(one.platform) for one in only(path).platforms] == ["linux/amd64", "linux/arm64/v8"]


def test_a_config_that_cannot_be_read_names_no_platform(tmp_path: Path, images: Mapping[str, Built]) -> None:
    path = make_layout(tmp_path / "broken", [(replace(images["oci"], platform=None), {REF: "app:1"})])
    config = json.loads(images["oci"].raw)["config"]["digest"].removeprefix("sha256:")
    (path / "blobs" / "sha256" / config).write_bytes(b"{}")
    image = only(path)
    assert [str(one.platform) for one in image.platforms] == ["unknown/unknown"]
    assert image.problems
    raw = b"[1]"
    digest = Digest.of(raw)
    manifest = json.loads(images["oci"].raw)
    manifest["config"] |= {"digest": str(digest), "size": len(raw)}
    document = json.dumps(manifest).encode()
    built = Built(
        document,
        media_types.OCI_MANIFEST,
        {Digest.of(document): (media_types.OCI_MANIFEST, document)},
        {**images["oci"].blobs, digest: raw},
    )
    assert str(only(make_layout(tmp_path / "nonsense", [(built, {})])).platforms[0].platform) == "unknown/unknown"


@pytest.mark.parametrize("raw", [b"{}", b"[]", dump({"schemaVersion": 2, "manifests": [{"digest": "x", "size": 1}]})])
def test_an_index_that_is_none(tmp_path: Path, images: Mapping[str, Built], raw: bytes) -> None:
    path = make_layout(tmp_path / "broken", [(images["oci"], {})])
    (path / "index.json").write_bytes(raw)
    with pytest.raises(ContentError, match=r"index\.json"):
        read(path)
    (path / "index.json").unlink()
    (path / "index.json").mkdir()
    with pytest.raises(ContentError, match=r"index\.json is no file"):
        read(path)


async def test_a_directory_that_is_neither_is_refused_as_before(tmp_path: Path, images: Mapping[str, Built]) -> None:
    path = make_layout(tmp_path / "images", [(images["oci"], {})])
    output = OutputSettings(target=tmp_path / "x.tar.gz", sync=False)
    with pytest.raises(ContentError, match=r"there is no saved-images-list\.json in it"):
        await compress(CompressOptions(cache=path, output=output))
    (path / "oci-layout").unlink()
    with pytest.raises(ContentError, match=r"there is no saved-images-list\.json in it"):
        await ls(ListOptions(path))
