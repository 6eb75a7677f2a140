"""Which name stands for which image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from hangar_async.engine.open_layout import seekable_layout_at
from hangar_async.engine.serving.content import Clash, Repository, Shelf, full_names, shelve
from hangar_async.layout.images import read_images
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import parse_manifest
from hangar_async.testing.images import Built, index
from tests.engine.forms import Saved
from tests.engine.made import make_cache, make_layout
from tests.engine.rig import small

REF = "org.opencontainers.image.ref.name"


def shelf_at(path: Path) -> Shelf:
    layout = seekable_layout_at(path)
    return shelve(read_images(layout), layout.sizes())


def test_each_repository_has_two_names(tmp_path: Path, images: Mapping[str, Built]) -> None:
    names = {"nginx:1.27": images["multi"], "reg.example.com:5000/team/app:2": images["oci"]}
    shelf = shelf_at(make_cache(tmp_path / "cache", names))
    assert shelf.clashes == ()
    assert set(shelf.repositories) == {
        "library/nginx",
        "docker.io/library/nginx",
        "team/app",
        "reg.example.com_5000/team/app",
        "reg.example.com:5000/team/app",
    }
    assert shelf.repositories["library/nginx"] is shelf.repositories["docker.io/library/nginx"]
    assert shelf.repositories["team/app"].tags == {"2": images["oci"].digest}


def test_an_image_is_there_with_all_that_it_consists_of(tmp_path: Path, images: Mapping[str, Built]) -> None:
    for name, built in images.items():
        place = shelf_at(make_cache(tmp_path / name, {f"{name}:1": built})).repositories[f"library/{name}"]
        assert place.tags == {"1": built.digest}
        assert {digest: one.media_type for digest, one in place.documents.items()} == {
            digest: kind for digest, (kind, _) in built.documents.items()
        }
        sizes = {**built.blobs, **{digest: raw for digest, (_, raw) in built.documents.items()}}
        assert place.blobs == {digest: len(data) for digest, data in sizes.items()}
        assert place.referrers == {}


def test_two_registries_with_one_name(tmp_path: Path) -> None:
    one, two, three, four = (small(name) for name in ("one", "two", "three", "four"))
    names = {
        "quay.io/other:1": four,  # its registry is the first
        "docker.io/team/app:1": one,
        "quay.io/team/app:1": two,
        "quay.io/team/app:2": three,
        "ghcr.io/team/app:1": one,  # the same as the first: no matter which one it is
    }
    shelf = shelf_at(make_cache(tmp_path / "cache", names))
    assert shelf.clashes == (Clash("team/app:1", "docker.io/team/app:1", "quay.io/team/app:1"),)
    assert shelf.repositories["team/app"].tags == {"1": one.digest, "2": three.digest}
    assert set(shelf.repositories["team/app"].documents) == {one.digest, two.digest, three.digest}
    assert shelf.repositories["quay.io/team/app"].tags == {"1": two.digest, "2": three.digest}
    assert shelf.repositories["docker.io/team/app"].tags == {"1": one.digest}
    for registry, digest in (("docker.io", one.digest), ("QUAY.io", two.digest), ("index.docker.io", one.digest)):
        found = shelf.of_registry(registry)
        assert found is not None
        assert found["team/app"].tags["1"] == digest
    assert shelf.of_registry("example.com") is None
    assert shelf.of_registry("no registry!") is None


def test_a_name_with_its_registry_comes_before_another_s_plain_name(tmp_path: Path) -> None:
    one, two = small("one"), small("two")
    names = {"mirror.local/quay.io/app:1": one, "quay.io/app:1": two}
    shelf = shelf_at(make_cache(tmp_path / "cache", names))
    assert shelf.repositories["quay.io/app"].tags == {"1": two.digest}
    assert shelf.repositories["mirror.local/quay.io/app"].tags == {"1": one.digest}
    assert shelf.repositories["app"].tags == {"1": two.digest}


@pytest.mark.parametrize(
    ("registry", "names"),
    [
        ("docker.io", ("docker.io/a",)),
        ("reg.example.com:5000", ("reg.example.com_5000/a", "reg.example.com:5000/a")),
        ("[::1]:5000", ("1_5000/a", "[::1]:5000/a")),
    ],
)
def test_registries_in_names(registry: str, names: tuple[str, ...]) -> None:
    assert full_names(registry, "a") == names


@pytest.mark.parametrize("form", ["gzip", "zstd-3", "dir"])
def test_the_original_of_a_partial_index_is_there_by_its_digest(partial: Saved, form: str) -> None:
    shelf = shelf_at(partial.at(form))
    place = shelf.repositories["multi"]
    built = next(built for name, built in partial.built.items() if "/multi:1" in name)
    assert place.tags["1"] != built.digest
    assert place.documents[place.tags["1"]].is_index
    assert place.documents[built.digest].size == len(built.raw)
    assert sum(not one.is_index for one in place.documents.values()) == 1


def test_an_image_by_digest_alone_has_no_tag(everything: Saved) -> None:
    name = next(name for name in everything.built if "sha256-" in name)
    place = shelf_at(everything.at("gzip")).repositories[name.partition("/")[2].partition(":")[0]]
    assert list(place.tags) == ["1"]
    assert everything.built[name].digest in place.documents


def test_a_cache_of_hangar_s_gets_an_index_of_its_platforms(tmp_path: Path, images: Mapping[str, Built]) -> None:
    root = make_cache(tmp_path / "cache", {"multi:1": images["multi"], "oci:1": images["oci"]})
    for name in ("index.json", "oci-layout", "blobs"):
        (root / name).unlink()
    shelf = shelf_at(root)
    assert shelf.repositories["library/oci"].tags == {"1": images["oci"].digest}
    place = shelf.repositories["library/multi"]
    made = parse_manifest(shelf.made[place.tags["1"]])
    assert made.media_type == media_types.OCI_INDEX
    platforms = [entry["platform"]["architecture"] for entry in json.loads(made.raw)["manifests"]]
    assert platforms == ["amd64", "arm64", "arm"]
    assert place.documents[made.digest] == made.descriptor
    assert place.blobs[made.digest] == len(made.raw)


def referrer(subject: Built, images: Mapping[str, Built], **fields: object) -> Built:
    raw = json.dumps(json.loads(images["artifact"].raw) | {"subject": subject.descriptor.to_json(), **fields}).encode()
    kind = images["artifact"].media_type
    return Built(raw, kind, {Digest.of(raw): (kind, raw)}, images["artifact"].blobs)


def test_what_refers_to_an_image_is_where_the_image_is(tmp_path: Path, images: Mapping[str, Built]) -> None:
    signature = referrer(images["multi"], images, artifactType="application/vnd.example.signature")
    of_signature = referrer(signature, images)
    lost = referrer(images["windows"], images)
    entries = [
        (images["multi"], {REF: "registry.example.com/app:1"}),
        (signature, {}),
        (of_signature, {}),
        (lost, {}),
        (images["oci"], {REF: "registry.example.com/other:1"}),
    ]
    shelf = shelf_at(make_layout(tmp_path / "images", entries))
    place = shelf.repositories["app"]
    assert list(place.referrers[images["multi"].digest]) == [signature.digest]
    assert list(place.referrers[signature.digest]) == [of_signature.digest]
    assert {signature.digest, of_signature.digest, *signature.blobs} <= set(place.blobs)
    assert shelf.repositories["other"].referrers == {}
    assert list(shelf.repositories["images"].referrers[images["windows"].digest]) == [lost.digest]


def test_chains_of_any_length_are_followed(tmp_path: Path, images: Mapping[str, Built]) -> None:
    chain = [small("first")]
    for _ in range(2000):
        chain.append(referrer(chain[-1], images))
    entries = [(chain[0], {REF: "registry.example.com/app:1"}), *((one, dict[str, str]()) for one in chain[1:])]
    place = shelf_at(make_layout(tmp_path / "images", entries)).repositories["app"]
    assert len(place.documents) == len(chain)


def test_what_is_missing_is_not_promised(tmp_path: Path, images: Mapping[str, Built]) -> None:
    both = index([images["oci"], small("other")])
    root = make_cache(tmp_path / "cache", {"both:1": both, "oci:1": images["oci"]})
    (root / "share" / "sha256" / images["oci"].digest.hex).unlink()
    shelf = shelf_at(root)
    assert shelf.repositories["library/oci"].tags == {}
    place: Repository = shelf.repositories["library/both"]
    assert place.tags == {"1": both.digest}
    assert images["oci"].digest not in place.documents
    assert images["oci"].digest not in place.blobs
