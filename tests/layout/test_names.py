"""Names in layouts of other programs: an image has its name, and what belongs to it the tag by which it is found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from hangar_async.layout.names import name_images, repository_of
from hangar_async.layout.parse import parse_layout_index
from hangar_async.oci.graph import Document
from hangar_async.oci.image import Image
from hangar_async.oci.manifest import parse_manifest
from hangar_async.oci.reference import Reference
from hangar_async.testing.images import Built, artifact, image, layer
from tests.fakes.images import AMD64, small
from tests.layout.rig import digest, index, index_entry


def names(*entries: dict[str, Any], documents: tuple[Built, ...] = ()) -> tuple[Image, ...]:
    parsed: list[Document] = [parse_manifest(built.raw, built.media_type) for built in documents]
    roots = parse_layout_index(index(*entries))
    return name_images(roots, "images", {document.digest: document for document in parsed})


@pytest.mark.parametrize(
    ("annotations", "name"),
    [
        ({"containerd": "docker.io/library/nginx:1.27", "ref": "1.27"}, "docker.io/library/nginx:1.27"),
        ({"containerd": "nginx"}, "docker.io/library/nginx:latest"),
        ({"ref": "quay.io/team/app:2"}, "quay.io/team/app:2"),
        ({"ref": "nginx:1.27"}, "docker.io/library/nginx:1.27"),
        ({"ref": "1.27"}, "localhost/images:1.27"),
        ({"ref": "latest"}, "localhost/images:latest"),
        ({"containerd": "NOT A NAME", "ref": "v1"}, "localhost/images:v1"),
        ({"ref": f"reg.example.com:5000/app@{digest(7)}"}, f"reg.example.com:5000/app:sha256-{digest(7).hex}"),
    ],
)
def test_the_names_that_programs_write(annotations: dict[str, str], name: str) -> None:
    (found,) = names(index_entry(1, **annotations))
    assert (found.reference.cache_name, found.named) == (name, True)
    assert found.digest == digest(1)


@pytest.mark.parametrize("annotations", [{}, {"ref": ""}, {"ref": "no name!"}, {"containerd": "a b"}, {"ref": "-x"}])
def test_an_image_without_a_name_is_known_by_its_digest(annotations: dict[str, str]) -> None:
    (found,) = names(index_entry(1, **annotations))
    assert (found.reference, found.named) == (Reference("localhost", "images", None, digest(1)), False)


def test_the_first_of_several_has_the_name() -> None:
    entries = [
        index_entry(1, ref="v1"),
        index_entry(2, ref="v1"),
        index_entry(1, ref="v1"),
        index_entry(3),
        index_entry(3),
    ]
    found = names(*entries)
    assert [(str(one.digest)[-1], one.named) for one in found] == [
        ("1", True),
        ("2", False),
        ("3", False),
    ]
    assert [one.notes for one in found] == [(), (f"localhost/images:v1 is the name of {digest(1)} in it",), ()]


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("images", "images"),
        ("nginx_1.27", "nginx_1.27"),
        ("My Images (1)", "my-images-1"),
        ("größe", "gr-e"),
        ("---", "layout"),
        ("", "layout"),
        ("a..b", "a-b"),
    ],
)
def test_repositories_of_directories(directory: str, name: str) -> None:
    assert repository_of(directory) == name


@given(st.text(max_size=300))
def test_any_directory_makes_a_repository(directory: str) -> None:
    assert Reference("localhost", repository_of(directory)).repository == repository_of(directory)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "v1", "v2", "nginx:1", "no name"])), max_size=8),
)
def test_names_are_unique_and_nothing_is_lost(entries: list[tuple[int, str]]) -> None:
    found = names(*(index_entry(number, ref=ref) for number, ref in entries))
    unique = {one.reference.cache_name for one in found}
    assert len(unique) == len(found)
    assert {one.digest for one in found} == {digest(number) for number, _ in entries}


COSIGN, HAULER = "dev.cosignproject.cosign", "dev.hauler"
ENDS = [("sigs", ".sig"), ("atts", ".att"), ("sboms", ".sbom")]


@pytest.mark.parametrize("root", ["image", "imageIndex"])
@pytest.mark.parametrize("program", [COSIGN, HAULER])
@pytest.mark.parametrize("order", [1, -1])
def test_companions_of_an_image_have_the_tags_of_cosign(root: str, program: str, order: int) -> None:
    """As hauler lists them: all have the name of the image."""
    entries = [
        index_entry(number, ref="team/app:v1", kind=f"{program}/{kind}") for number, (kind, _) in enumerate(ENDS)
    ]
    entries.append(index_entry(9, ref="team/app:v1", kind=f"{program}/{root}"))
    found = names(*entries[::order])
    expected = {digest(number): f"sha256-{digest(9).hex}{end}" for number, (_, end) in enumerate(ENDS)}
    assert {one.digest: one.reference.tag for one in found} == {**expected, digest(9): "v1"}
    assert {one.reference.name for one in found} == {"docker.io/team/app"}
    assert [one.digest for one in found] == [digest(number) for number in (0, 1, 2, 9)][::order]
    assert all(one.named for one in found)


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": str(digest(7))},
        {"kind": f"{HAULER}/sigs/{digest(7).hex}"},
        {"kind": f"{HAULER}/sigs/sha256-{digest(7).hex}"},
        {"ref": f"app:sha256-{digest(7).hex}.sig"},
    ],
)
def test_a_signature_of_one_platform_says_so(fields: dict[str, str]) -> None:
    signature = {"containerd": "r.io/team/app:v1", "ref": "r.io/team/app:v1", "kind": f"{HAULER}/sigs", **fields}
    found = names(
        index_entry(9, containerd="r.io/team/app:v1", kind=f"{HAULER}/imageIndex"), index_entry(1, **signature)
    )
    assert [one.name for one in found] == ["r.io/team/app:v1", f"r.io/team/app:sha256-{digest(7).hex}.sig"]


def test_a_referrer_is_in_the_repository_of_its_subject_without_a_tag() -> None:
    referrer = index_entry(1, ref="r.io/team/app:v1", kind=f"{HAULER}/referrers/{digest(1).hex}")
    found = names(referrer, index_entry(9, ref="r.io/team/app:v1", kind=f"{HAULER}/image"))
    assert [str(one.reference) for one in found] == [f"r.io/team/app@{digest(1)}", "r.io/team/app:v1"]


def test_a_signature_in_a_layout_without_names_is_of_the_only_image() -> None:
    """As `cosign save` writes it."""
    entries = [index_entry(1, kind=f"{COSIGN}/imageIndex"), index_entry(2, kind=f"{COSIGN}/sigs")]
    assert [one.reference.cache_name for one in names(*entries)] == [
        f"localhost/images:sha256-{digest(1).hex}",
        f"localhost/images:sha256-{digest(1).hex}.sig",
    ]
    more = names(index_entry(3), *entries)
    assert [(one.digest, one.named) for one in more] == [(digest(3), False), (digest(1), False), (digest(2), False)]


@pytest.mark.parametrize("kind", [f"{HAULER}/sigs", f"{COSIGN}/atts"])
def test_a_signature_never_has_the_name_of_an_image(kind: str) -> None:
    (found,) = names(index_entry(1, ref="team/app:v1", kind=kind))
    assert not found.named


def signature_like() -> Built:
    """A signature with the config of an image, as cosign makes it, and without a `kind`."""
    built = image([layer({"a": b"1"})], AMD64)
    raw = built.raw.replace(
        b"application/vnd.oci.image.layer.v1.tar+gzip", b"application/vnd.dev.cosign.simplesigning.v1+json"
    )
    assert raw != built.raw
    return Built(raw, built.media_type, {}, {})


CHART = artifact(
    "application/vnd.cncf.helm.config.v1+json", b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)


@pytest.mark.parametrize("other", [signature_like(), CHART])
def test_an_image_comes_before_anything_else_of_its_name(other: Built) -> None:
    app = small("app")
    entries = [
        {**built.descriptor.to_json(), "annotations": {"io.containerd.image.name": "r.io/app:v1"}}
        for built in (other, app)
    ]
    found = names(*entries, documents=(other, app))
    assert [(one.digest, one.named) for one in found] == [(other.digest, False), (app.digest, True)]
    # Alone it has the name.
    assert names(entries[0], documents=(other,))[0].named
