"""Images are read from layouts of every form, hostile ones too."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hangar_async.config.options import CompressOptions, ExtractOptions, ListOptions, VerifyOptions
from hangar_async.config.output import OutputSettings
from hangar_async.engine.compress import compress
from hangar_async.engine.extract import extract
from hangar_async.engine.ls import ls
from hangar_async.engine.open_layout import find_archive, layout_at
from hangar_async.engine.verify import verify
from hangar_async.errors import ContentError, UsageError
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.files import blob_name
from hangar_async.layout.images import LayoutImages, read_cache, read_images
from hangar_async.layout.names import find_image
from hangar_async.oci import graph, media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image
from hangar_async.oci.manifest import Manifest
from hangar_async.testing.images import Built, IndexEntry, index
from hangar_async.threads import in_thread
from tests.engine.forms import FORMS, HANGARS, Saved
from tests.engine.made import dump, make_cache, make_layout
from tests.fakes.images import small
from tests.layout.rig import REF, Made, of, read


def content_of(built: Built) -> set[Digest]:
    return {*built.documents, *built.blobs}


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_image_is_read(everything: Saved, form: str) -> None:
    catalog = read(everything.at(form))
    assert [image.name for image in catalog.images] == list(everything.built)
    for image in catalog.images:
        built = everything.built[image.name]
        assert image.problems == ()
        sizes = {**built.blobs, **{digest: raw for digest, (_, raw) in built.documents.items()}}
        listed = {content.digest: content.size for content in image.contents}
        if form in HANGARS:  # nothing names attestations and indexes there
            assert listed.items() <= {digest: len(data) for digest, data in sizes.items()}.items()
            assert image.root is None
        else:
            assert listed == {digest: len(data) for digest, data in sizes.items()}
            assert image.root is not None
            assert image.root.digest == built.digest
        assert image.size == sum(listed.values())
        assert len(image.configs) == (0 if "artifact" in image.name else len(image.platforms))
        assert image.below_root() == image.contents
    assert "2024" in catalog.saved


@pytest.mark.parametrize("form", FORMS)
def test_platforms_are_read(everything: Saved, form: str) -> None:
    catalog = read(everything.at(form))
    platforms = {image.name.split("/")[1]: [str(one.platform) for one in image.platforms] for image in catalog.images}
    assert platforms["multi:1"] == ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"]
    assert platforms["artifact:1"] == ["unknown/unknown"]
    assert platforms["attested:1"] == platforms["no-platform:1"] == ["linux/amd64", "linux/arm64/v8"]
    assert platforms["nested:1"] == ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"]
    assert platforms["windows:1"][0] == "windows/amd64 (10.0.20348.2113)"
    built = next(built for name, built in everything.built.items() if "/oci:1" in name)
    (one,) = of(catalog, "oci").platforms
    assert one.size == of(catalog, "oci").size == sum(map(len, [built.raw, *built.blobs.values()]))


def kept_beside(image: Image) -> set[Digest]:
    """The indexes that the registry served, which are no part of the partial image."""
    return {one.digest for one in image.contents} - {one.digest for one in image.below_root()}


@pytest.mark.parametrize("form", [form for form in FORMS if form not in HANGARS])
def test_partial_images_are_read(partial: Saved, form: str) -> None:
    catalog = read(partial.at(form))
    assert [image.problems for image in catalog.images] == [()] * len(partial.built)
    for image in catalog.images:
        assert image.original == partial.built[image.name].digest
        assert image.root is not None
        assert image.root.digest != image.original
        assert image.original in kept_beside(image)
        assert {one.digest for one in image.contents} - {image.root.digest} <= content_of(partial.built[image.name])
        assert [str(one.platform) for one in image.platforms] == ["linux/amd64"]
    # The index within it is held in part too, and what the registry served is kept.
    assert len(kept_beside(of(catalog, "nested"))) == 2


@pytest.mark.parametrize("form", FORMS)
def test_an_image_is_found_by_its_name(everything: Saved, form: str) -> None:
    images = read(everything.at(form)).images
    assert find_image(images, images[3].name) is images[3]
    with pytest.raises(UsageError, match=r"no image a:1 in it; it has 127\.0\.0\.1"):
        find_image(images, "a:1")
    with pytest.raises(UsageError, match="it has none"):
        find_image((), "a:1")


Change = Callable[[Path, Image], str]


def _rewrite(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def missing_blob(root: Path, image: Image) -> str:
    digest = image.contents[-1].digest
    (root / blob_name(digest)).unlink()
    return f"blob {digest} is missing"


def shorter_blob(root: Path, image: Image) -> str:
    one = image.contents[-1]
    (root / blob_name(one.digest)).write_bytes(b"1")
    return f"blob {one.digest} has 1 bytes instead of {one.size}"


def missing_manifest(root: Path, image: Image) -> str:
    digest = image.platforms[0].descriptor.digest
    (root / blob_name(digest)).unlink()
    return f"manifest {digest} is missing"


def damaged_manifest(root: Path, image: Image) -> str:
    digest = image.platforms[0].descriptor.digest
    path = root / blob_name(digest)
    path.write_bytes(path.read_bytes().replace(b"2", b"3", 1))
    return f"manifest {digest} cannot be read: {blob_name(digest)} is damaged"


def missing_index(root: Path, image: Image) -> str:
    assert image.root is not None
    (root / blob_name(image.root.digest)).unlink()
    return f"manifest {image.root.digest} is missing"


def missing_folder(root: Path, image: Image) -> str:
    name = f"{image.platforms[0].folder}/index.json"
    (root / name).unlink()
    return f"{name} is missing"


def huge_folder(root: Path, image: Image) -> str:
    name = f"{image.platforms[0].folder}/index.json"
    (root / name).write_bytes(b" " * (1 << 21))
    return f"{name} has {1 << 21} bytes"


def folder_of_nothing(root: Path, image: Image) -> str:
    name = f"{image.platforms[0].folder}/index.json"
    _rewrite(root / name, lambda document: document.update(manifests=[]))
    return f"{name} names 0 manifests"


def folder_of_an_index(root: Path, image: Image) -> str:
    assert image.root is not None
    fields = image.root.to_json()
    name = f"{image.platforms[0].folder}/index.json"
    _rewrite(root / name, lambda document: document.update(manifests=[fields]))
    return f"{name} names an index and no manifest"


def folder_of_another(root: Path, image: Image) -> str:
    name = f"{image.platforms[0].folder}/index.json"
    (root / name).write_bytes((root / image.platforms[1].folder / "index.json").read_bytes())
    return f"{name} names {image.platforms[1].descriptor.digest}, and saved-images-list.json"


def list_of_another(root: Path, image: Image) -> str:
    def change(document: Any) -> None:
        for item in document["List"]:
            if item["Source"].endswith("/multi"):
                item["Images"][0]["Digest"] = f"sha256:{'0' * 64}"

    _rewrite(root / "saved-images-list.json", change)
    return f"index.json names {image.platforms[0].descriptor.digest}, and saved-images-list.json sha256:000"


def list_without_platforms(root: Path, image: Image) -> str:
    def change(document: Any) -> None:
        for item in document["List"]:
            if item["Source"].endswith("/multi"):
                item["Images"] = None

    _rewrite(root / "saved-images-list.json", change)
    return "saved-images-list.json names no platform of it"


def not_in_index(root: Path, image: Image) -> str:
    def change(document: Any) -> None:
        document["manifests"] = [one for one in document["manifests"] if "/multi:1" not in str(one["annotations"])]

    _rewrite(root / "index.json", change)
    return "index.json does not name it, which saved-images-list.json does"


def not_in_list(root: Path, image: Image) -> str:
    def change(document: Any) -> None:
        document["List"] = [one for one in document["List"] if not one["Source"].endswith("/multi")]

    _rewrite(root / "saved-images-list.json", change)
    return "saved-images-list.json does not name it, which index.json does"


def other_root(root: Path, image: Image) -> str:
    other = json.loads((root / "index.json").read_text())["manifests"][0]

    def change(document: Any) -> None:
        for one in document["manifests"]:
            if "/multi:1" in str(one["annotations"]):
                one["digest"], one["size"], one["mediaType"] = other["digest"], other["size"], other["mediaType"]

    _rewrite(root / "index.json", change)
    return f"names {image.platforms[0].descriptor.digest}, which the image's index does not"


@pytest.mark.parametrize(
    "change",
    [
        missing_blob, shorter_blob, missing_manifest, damaged_manifest, missing_index, missing_folder, huge_folder,
        folder_of_nothing, folder_of_an_index, folder_of_another, list_of_another, list_without_platforms,
        not_in_index, not_in_list, other_root,
    ],
)  # fmt: skip
def test_damage_is_a_problem_of_its_image(everything: Saved, tmp_path: Path, change: Change) -> None:
    root = everything.copy("dir", tmp_path)
    image = of(read(root), "multi")
    said = change(root, image)
    catalog = read(root)
    assert said in "\n".join(of(catalog, "multi").problems)
    assert sorted(one.name for one in catalog.images) == sorted(everything.built)
    # All listed platforms stay known, but of an image that the list does not name so.
    if change not in (list_without_platforms, not_in_list):
        assert [one.folder for one in of(catalog, "multi").platforms] == [one.folder for one in image.platforms]
    shared = {one.digest for one in image.contents}
    for one in catalog.images:
        if "/multi:1" not in one.name and not shared & {content.digest for content in one.contents}:
            assert one.problems == ()


@pytest.mark.parametrize("form", ["gzip", "zstd-3"])
def test_a_damaged_document_of_an_archive_is_a_problem_of_its_image(
    everything: Saved, tmp_path: Path, form: str
) -> None:
    path = everything.copy(form, tmp_path)
    archive = find_archive(path)
    assert archive is not None
    image = of(read(path), "oci")
    entry = archive.entries[f"saved-image-cache/{blob_name(image.platforms[0].descriptor.digest)}"]
    part = archive.volume.part_at(entry.offset + entry.length // 2)
    data = bytearray(part.path.read_bytes())
    data[entry.offset + entry.length // 2 - part.start] ^= 4
    part.path.write_bytes(data)
    catalog = read(path)
    assert "cannot be read" in of(catalog, "oci").problems[0]
    assert of(catalog, "multi").problems == ()


@pytest.mark.parametrize("name", ["saved-images-list.json", "index.json"])
@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"List": 1}', b"[" * 100_000, b'{"schemaVersion":2}'],
    ids=["empty", "cut", "list", "null", "latin", "number", "deep", "bare"],
)  # fmt: skip
def test_an_unreadable_index_is_an_error(everything: Saved, tmp_path: Path, name: str, data: bytes) -> None:
    root = everything.copy("dir", tmp_path)
    (root / name).write_bytes(data)
    with pytest.raises(ContentError, match=name):
        read(root)


def test_a_huge_list_is_refused_unread(everything: Saved, tmp_path: Path) -> None:
    root = everything.copy("dir", tmp_path)
    with (root / "saved-images-list.json").open("r+b") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(ContentError, match=r"saved-images-list\.json has 67108865 bytes"):
        read(root)


def test_an_image_is_found_by_any_of_its_names(tmp_path: Path) -> None:
    names = ["docker.io/library/nginx:1.27", "quay.io/team/app:1", "quay.io/team/app:2"]
    images = read_images(DirectoryLayout(make_cache(tmp_path / "x", {name: small(name) for name in names}))).images
    for name in ("nginx:1.27", "nginx", names[0], "library/nginx"):
        assert find_image(images, name) is images[0]
    assert find_image(images, "team/app:2") is images[2]
    with pytest.raises(UsageError, match="team/app may be each of 2 images"):
        find_image(images, "team/app")


def test_a_directory_without_a_list_is_no_cache(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="there are no images in it"):
        read(tmp_path)


def test_indexes_nested_too_deep_are_a_problem(tmp_path: Path) -> None:
    made = Made(tmp_path)
    manifest = made.manifest(0)
    root = manifest
    for _ in range(12):
        root = made.index(root)
    made.image("deep", root, manifest)
    (image,) = made.read().images
    assert any("nested too deep" in problem for problem in image.problems)


def test_a_chain_of_images_of_indexes_ends(tmp_path: Path) -> None:
    """Each image names the next index of one chain, so that all of it is read: none is followed to its end."""
    made = Made(tmp_path)
    root = made.manifest(0)
    for number in range(3000):
        root = made.index(root)
        made.roots.append({**root, "annotations": {"org.opencontainers.image.ref.name": f"r.io/a{number}:1"}})
    images = made.read().images
    assert any("nested too deep" in problem for problem in images[-1].problems)


def test_an_image_with_too_many_entries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One small document, named over and over, would make a gigabyte."""
    assert graph.MAX_ENTRIES == 1 << 19
    monkeypatch.setattr(graph, "MAX_ENTRIES", 1 << 12)
    made = Made(tmp_path)
    manifest = made.manifest(400)
    for number in range(12):
        made.image(f"a{number}", manifest, manifest)
    with pytest.raises(ContentError, match="more than 4,096 blobs"):
        made.read()


def test_an_original_that_is_no_index_is_a_problem(tmp_path: Path) -> None:
    made = Made(tmp_path)
    manifest = made.manifest(0)
    made.image("odd", made.index(manifest), manifest)
    made.roots[0]["annotations"]["io.hangar-async.original.digest"] = manifest["digest"]
    (image,) = made.read().images
    assert image.problems == (f"the original {manifest['digest']} is no index",)
    made.roots[0]["annotations"]["io.hangar-async.original.digest"] = f"sha256:{'0' * 64}"
    (image,) = made.read().images
    assert f"manifest sha256:{'0' * 64} is missing" in image.problems


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=8,
)


@given(where=st.integers(0, 10**6), value=json_values, name=st.sampled_from(["index.json", "saved-images-list.json"]))
def test_any_value_in_the_place_of_another_is_no_crash(everything: Saved, where: int, value: Any, name: str) -> None:
    raw = (everything.at("dir") / name).read_bytes()
    changed = _replaced(json.loads(raw), where, value)
    foreign_layout = _Changed(everything.at("dir"), {name: json.dumps(changed).encode("utf-8", "surrogatepass")})
    try:
        catalog = read_cache(foreign_layout)
    except ContentError:
        return
    assert all(isinstance(image.name, str) for image in catalog.images)


class _Changed(DirectoryLayout):
    def __init__(self, root: Path, changed: dict[str, bytes]) -> None:
        super().__init__(root)
        self._changed = changed

    def sizes(self) -> dict[str, int]:
        return {**super().sizes(), **{name: len(data) for name, data in self._changed.items()}}

    def files(self, names: Any = None) -> Any:
        for file in super().files(names):
            data = self._changed.get(file.name)
            yield file if data is None else replace(file, size=len(data), pieces=iter([data]))


def _replaced(document: Any, where: int, value: Any) -> Any:
    """Put a value in the place of one of those in a document."""
    places: list[tuple[Any, Any]] = []

    def walk(below: Any) -> None:
        for key, item in below.items() if isinstance(below, dict) else enumerate(below):
            places.append((below, key))
            if isinstance(item, dict | list):
                walk(item)

    walk(document)
    below, key = places[where % len(places)]
    below[key] = value
    return document


def read_foreign(path: Path) -> LayoutImages:
    return read_images(layout_at(path, None, lambda: None))


def only(path: Path) -> Image:
    (image,) = read_foreign(path).images
    return image


async def test_every_kind_of_image_is_listed(foreign_layout: Path, images: Mapping[str, Built]) -> None:
    listing = await ls(ListOptions(foreign_layout))
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


def test_platforms_are_read_of_indexes_and_configs(foreign_layout: Path) -> None:
    found = {
        image.name.split("/")[-1]: [str(one.platform) for one in image.platforms]
        for image in read_foreign(foreign_layout).images
    }
    assert found["multi:1"] == ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"]
    assert found["nested:1"] == ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"]
    assert found["attested:1"] == found["no-platform:1"] == ["linux/amd64", "linux/arm64/v8"]
    assert found["oci:1"] == found["images:latest"] == ["linux/amd64"]
    assert found["foreign:1"] == ["windows/amd64 (10.0.20348.2113)"]
    (artifact,) = [image for image in read_foreign(foreign_layout).images if not image.named]
    assert [str(one.platform) for one in artifact.platforms] == ["unknown/unknown"]


async def test_it_is_verified(foreign_layout: Path, images: Mapping[str, Built]) -> None:
    verdict = await verify(VerifyOptions(foreign_layout))
    assert verdict.problems == ()
    assert len(verdict.images) == len(images)
    digest = next(iter(images["zstd"].blobs))
    (foreign_layout / "blobs" / digest.algorithm / digest.hex).write_bytes(b"damaged")
    problems = "\n".join((await verify(VerifyOptions(foreign_layout))).problems)
    assert f"registry.example.com/zstd:1: needs the damaged blob {digest}" in problems


@pytest.mark.parametrize("platform", [None, "linux/arm64"])
async def test_images_are_extracted(
    foreign_layout: Path, images: Mapping[str, Built], tmp_path: Path, platform: str | None
) -> None:
    name = "registry.example.com/multi:1"
    await extract(ExtractOptions(source=foreign_layout, image=name, destination=tmp_path / "out", platform=platform))
    image = await in_thread(only, tmp_path / "out")
    assert (image.name, image.problems) == (name, ())
    assert (image.digest == images["multi"].digest) is (platform is None)


async def test_one_without_a_name_is_extracted_by_its_digest(
    foreign_layout: Path, images: Mapping[str, Built], tmp_path: Path
) -> None:
    digest = images["artifact"].digest
    await extract(ExtractOptions(source=foreign_layout, image=str(digest), destination=tmp_path / "out"))
    image = await in_thread(only, tmp_path / "out")
    assert image.digest == digest
    assert image.reference.digest == digest


def test_an_index_of_which_a_part_is_there(tmp_path: Path, images: Mapping[str, Built]) -> None:
    """As containerd exports one platform, and Docker 29 saves an image."""
    path = make_layout(tmp_path / "part", [(images["multi"], {REF: "app:1"})])
    whole = only(path)
    (arm,) = [one for one in whole.platforms if "v7" in str(one.platform)]
    blobs = path / "blobs" / "sha256"
    (blobs / arm.descriptor.digest.hex).unlink()
    image = only(path)
    assert image.problems == ()
    assert image.original == images["multi"].digest
    assert [str(one.platform) for one in image.platforms] == ["linux/amd64", "linux/arm64/v8"]
    (root,) = [one for one in image.contents if image.root is not None and one.digest == image.root.digest]
    assert image.documents[root.digest].raw != images["multi"].raw
    # A blob of a manifest that is there was not left out.
    amd = image.documents[image.platforms[0].descriptor.digest]
    assert isinstance(amd, Manifest)
    (blobs / amd.config.digest.hex).unlink()
    assert only(path).problems == (f"blob {amd.config.digest} is missing",)


@pytest.mark.parametrize("damaged", [False, True])
def test_an_index_without_any_manifest_or_with_a_damaged_one_is_no_part(
    tmp_path: Path, images: Mapping[str, Built], damaged: bool
) -> None:
    path = make_layout(tmp_path / "part", [(images["multi"], {REF: "app:1"})])
    platforms = only(path).platforms
    for platform in platforms[:1] if damaged else platforms:
        file = path / "blobs" / "sha256" / platform.descriptor.digest.hex
        if damaged:
            file.write_bytes(b"{}")
        else:
            file.unlink()
    image = only(path)
    assert image.original is None
    assert image.problems


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
        read_foreign(path)
    (path / "index.json").unlink()
    (path / "index.json").mkdir()
    with pytest.raises(ContentError, match="there are no images in it"):
        read_foreign(path)


async def test_a_directory_that_is_neither_is_refused_as_before(tmp_path: Path, images: Mapping[str, Built]) -> None:
    path = make_layout(tmp_path / "images", [(images["oci"], {})])
    output = OutputSettings(target=tmp_path / "x.tar.gz", sync=False)
    (path / "oci-layout").unlink()
    with pytest.raises(ContentError, match="there are no images in it"):
        await compress(CompressOptions(cache=path, output=output))
    with pytest.raises(ContentError, match="there are no images in it"):
        await ls(ListOptions(path))
