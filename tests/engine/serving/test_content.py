"""Images of a layout under the names of a registry, with their content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from hangar_async.engine.open_layout import seekable_layout_at
from hangar_async.engine.serving.buffers import SMALL
from hangar_async.engine.serving.content import (
    LayoutContent,
    NameConflict,
    Repositories,
    Repository,
    full_names,
    read_repositories,
)
from hangar_async.errors import DigestMismatch
from hangar_async.layout.files import blob_name
from hangar_async.layout.images import read_images
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import parse_manifest
from hangar_async.testing.images import Built, index
from tests.engine.forms import Saved
from tests.engine.made import make_cache, make_layout
from tests.fakes.images import small


async def joined(layout_content: LayoutContent, digest: Digest, start: int, stop: int) -> bytes:
    return b"".join([bytes(piece) async for piece in layout_content.read(digest, start, stop)])


async def test_names_that_are_listed_are_names(layout_content: LayoutContent) -> None:
    assert list(await layout_content.repositories()) == [
        "app",
        "docker.io/library/long",
        "library/long",
        "reg.io_5000/app",
    ]
    assert await layout_content.tags("reg.io:5000/app") == ["1"]
    assert await layout_content.tags("none") is None
    assert await layout_content.resolve("none", "1") is None
    assert await layout_content.size("none", Digest.of(b"")) is None
    assert await layout_content.referrers("none", Digest.of(b"")) == []


async def test_names_are_sorted_once(layout_content: LayoutContent) -> None:
    for registry in (None, "reg.io:5000"):
        contents = [layout_content if registry is None else layout_content.of_registry(registry) for _ in range(2)]
        first, second = [await content.repositories() for content in contents if content is not None]
        assert first is second


async def test_one_registry(layout_content: LayoutContent) -> None:
    found = layout_content.of_registry("reg.io:5000")
    assert found is not None
    assert list(await found.repositories()) == ["app"]
    assert await found.tags("library/long") is None
    again = found.of_registry("docker.io")
    assert again is not None
    assert list(await again.repositories()) == ["library/long"]
    assert layout_content.of_registry("other.io") is None


async def test_a_long_manifest_is_checked_before_any_of_it_is_sent(
    layout_content: LayoutContent, long_image: Built, tmp_path: Path
) -> None:
    size = len(long_image.raw)
    assert size > 2 * SMALL
    for start in (0, 5, size - 10):
        assert await joined(layout_content, long_image.digest, start, size) == long_image.raw[start:]
    path = tmp_path / "cache" / blob_name(long_image.digest)
    path.write_bytes(long_image.raw[:-1] + b" ")
    for start in (0, 5, size - 10):
        with pytest.raises(DigestMismatch):
            await anext(layout_content.read(long_image.digest, start, size))


REF = "org.opencontainers.image.ref.name"


def repositories_at(path: Path) -> Repositories:
    layout = seekable_layout_at(path)
    return read_repositories(read_images(layout), layout.sizes())


def test_each_repository_has_two_names(tmp_path: Path, images: Mapping[str, Built]) -> None:
    names = {"nginx:1.27": images["multi"], "reg.example.com:5000/team/app:2": images["oci"]}
    repositories = repositories_at(make_cache(tmp_path / "cache", names))
    assert repositories.conflicts == ()
    assert set(repositories.by_name) == {
        "library/nginx",
        "docker.io/library/nginx",
        "team/app",
        "reg.example.com_5000/team/app",
        "reg.example.com:5000/team/app",
    }
    assert repositories.by_name["library/nginx"] is repositories.by_name["docker.io/library/nginx"]
    assert repositories.by_name["team/app"].tags == {"2": images["oci"].digest}


def test_an_image_is_there_with_all_that_it_consists_of(tmp_path: Path, images: Mapping[str, Built]) -> None:
    for name, built in images.items():
        repository = repositories_at(make_cache(tmp_path / name, {f"{name}:1": built})).by_name[f"library/{name}"]
        assert repository.tags == {"1": built.digest}
        assert {digest: one.media_type for digest, one in repository.documents.items()} == {
            digest: kind for digest, (kind, _) in built.documents.items()
        }
        sizes = {**built.blobs, **{digest: raw for digest, (_, raw) in built.documents.items()}}
        assert repository.blobs == {digest: len(data) for digest, data in sizes.items()}
        assert repository.referrers == {}


def test_two_registries_with_one_name(tmp_path: Path) -> None:
    one, two, three, four = (small(name) for name in ("one", "two", "three", "four"))
    names = {
        "quay.io/other:1": four,  # its registry is the first
        "docker.io/team/app:1": one,
        "quay.io/team/app:1": two,
        "quay.io/team/app:2": three,
        "ghcr.io/team/app:1": one,  # the same as the first: no matter which one it is
    }
    repositories = repositories_at(make_cache(tmp_path / "cache", names))
    assert repositories.conflicts == (NameConflict("team/app:1", "docker.io/team/app:1", "quay.io/team/app:1"),)
    assert repositories.by_name["team/app"].tags == {"1": one.digest, "2": three.digest}
    assert set(repositories.by_name["team/app"].documents) == {one.digest, two.digest, three.digest}
    assert repositories.by_name["quay.io/team/app"].tags == {"1": two.digest, "2": three.digest}
    assert repositories.by_name["docker.io/team/app"].tags == {"1": one.digest}
    for registry, digest in (("docker.io", one.digest), ("QUAY.io", two.digest), ("index.docker.io", one.digest)):
        name = repositories.find_registry(registry)
        assert name is not None
        assert repositories.by_registry[name]["team/app"].tags["1"] == digest
    assert repositories.find_registry("example.com") is None
    assert repositories.find_registry("no registry!") is None


def test_a_name_with_its_registry_comes_before_another_s_plain_name(tmp_path: Path) -> None:
    one, two = small("one"), small("two")
    names = {"mirror.local/quay.io/app:1": one, "quay.io/app:1": two}
    repositories = repositories_at(make_cache(tmp_path / "cache", names))
    assert repositories.by_name["quay.io/app"].tags == {"1": two.digest}
    assert repositories.by_name["mirror.local/quay.io/app"].tags == {"1": one.digest}
    assert repositories.by_name["app"].tags == {"1": two.digest}


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
    repositories = repositories_at(partial.at(form))
    repository = repositories.by_name["multi"]
    built = next(built for name, built in partial.built.items() if "/multi:1" in name)
    assert repository.tags["1"] != built.digest
    assert repository.documents[repository.tags["1"]].is_index
    assert repository.documents[built.digest].size == len(built.raw)
    assert sum(not one.is_index for one in repository.documents.values()) == 1


def test_an_image_by_digest_alone_has_no_tag(everything: Saved) -> None:
    name = next(name for name in everything.built if "sha256-" in name)
    repository = repositories_at(everything.at("gzip")).by_name[name.partition("/")[2].partition(":")[0]]
    assert list(repository.tags) == ["1"]
    assert everything.built[name].digest in repository.documents


def test_a_cache_of_hangar_s_gets_an_index_of_its_platforms(tmp_path: Path, images: Mapping[str, Built]) -> None:
    root = make_cache(tmp_path / "cache", {"multi:1": images["multi"], "oci:1": images["oci"]})
    for name in ("index.json", "oci-layout", "blobs"):
        (root / name).unlink()
    repositories = repositories_at(root)
    assert repositories.by_name["library/oci"].tags == {"1": images["oci"].digest}
    repository = repositories.by_name["library/multi"]
    joined = parse_manifest(repositories.joined_indexes[repository.tags["1"]])
    assert joined.media_type == media_types.OCI_INDEX
    platforms = [entry["platform"]["architecture"] for entry in json.loads(joined.raw)["manifests"]]
    assert platforms == ["amd64", "arm64", "arm"]
    assert repository.documents[joined.digest] == joined.descriptor
    assert repository.blobs[joined.digest] == len(joined.raw)


def referrer(subject: Built, images: Mapping[str, Built], **fields: object) -> Built:
    raw = json.dumps(json.loads(images["artifact"].raw) | {"subject": subject.descriptor.to_json(), **fields}).encode()
    kind = images["artifact"].media_type
    return Built(raw, kind, {Digest.of(raw): (kind, raw)}, images["artifact"].blobs)


def test_referrers_are_in_the_repositories_of_their_subject(tmp_path: Path, images: Mapping[str, Built]) -> None:
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
    repositories = repositories_at(make_layout(tmp_path / "images", entries))
    repository = repositories.by_name["app"]
    assert list(repository.referrers[images["multi"].digest]) == [signature.digest]
    assert list(repository.referrers[signature.digest]) == [of_signature.digest]
    assert {signature.digest, of_signature.digest, *signature.blobs} <= set(repository.blobs)
    assert repositories.by_name["other"].referrers == {}
    assert list(repositories.by_name["images"].referrers[images["windows"].digest]) == [lost.digest]


def test_chains_of_any_length_are_followed(tmp_path: Path, images: Mapping[str, Built]) -> None:
    chain = [small("first")]
    for _ in range(2000):
        chain.append(referrer(chain[-1], images))
    entries = [(chain[0], {REF: "registry.example.com/app:1"}), *((one, dict[str, str]()) for one in chain[1:])]
    repository = repositories_at(make_layout(tmp_path / "images", entries)).by_name["app"]
    assert len(repository.documents) == len(chain)


def test_missing_content_is_not_served(tmp_path: Path, images: Mapping[str, Built]) -> None:
    both = index([images["oci"], small("other")])
    root = make_cache(tmp_path / "cache", {"both:1": both, "oci:1": images["oci"]})
    (root / "share" / "sha256" / images["oci"].digest.hex).unlink()
    repositories = repositories_at(root)
    assert repositories.by_name["library/oci"].tags == {}
    repository: Repository = repositories.by_name["library/both"]
    assert repository.tags == {"1": both.digest}
    assert images["oci"].digest not in repository.documents
    assert images["oci"].digest not in repository.blobs
