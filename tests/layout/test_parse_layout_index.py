from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hangar_async.errors import ContentError
from hangar_async.layout.parse import parse_layout_index, repository_of
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.reference import Reference

CONTAINERD = "io.containerd.image.name"
REF = "org.opencontainers.image.ref.name"


def entry(number: int, media_type: str | None = media_types.OCI_MANIFEST, **annotations: str) -> dict[str, Any]:
    named = {CONTAINERD: annotations.get("containerd"), REF: annotations.get("ref")}
    return {
        **({} if media_type is None else {"mediaType": media_type}),
        "digest": str(digest(number)),
        "size": 5,
        "annotations": {name: text for name, text in named.items() if text is not None},
    }


def digest(number: int) -> Digest:
    return Digest("sha256", f"{number:064x}")


def index(*entries: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": entries, **fields}).encode()


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
    (found,) = parse_layout_index(index(entry(1, **annotations)), "images")
    assert (found.reference.cache_name, found.named) == (name, True)
    assert found.digest == digest(1)


@pytest.mark.parametrize("annotations", [{}, {"ref": ""}, {"ref": "no name!"}, {"containerd": "a b"}, {"ref": "-x"}])
def test_what_has_no_name_is_known_by_its_digest(annotations: dict[str, str]) -> None:
    (found,) = parse_layout_index(index(entry(1, **annotations)), "images")
    assert (found.reference, found.named) == (Reference("localhost", "images", None, digest(1)), False)


def test_the_first_of_several_has_the_name() -> None:
    entries = [entry(1, ref="v1"), entry(2, ref="v1"), entry(1, ref="v1"), entry(3), entry(3)]
    found = parse_layout_index(index(*entries), "images")
    assert [(str(one.digest)[-1], one.named) for one in found] == [
        ("1", True),
        ("2", False),
        ("1", False),
        ("3", False),
    ]


def test_what_is_no_manifest_is_passed_over() -> None:
    entries = [
        entry(1, "application/xml", ref="v1"),
        entry(2, None, ref="v2"),
        entry(3, media_types.DOCKER_LIST, ref="v3"),
        entry(4, media_types.DOCKER_MANIFEST, ref="v4"),
        entry(5, media_types.OCI_INDEX, ref="v5"),
    ]
    assert [one.reference.tag for one in parse_layout_index(index(*entries), "x")] == ["v2", "v3", "v4", "v5"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        json.dumps({"schemaVersion": 2}).encode(),
        index(layers=[]),
        index(mediaType=media_types.OCI_MANIFEST),
        index({"digest": "sha256:short", "size": 1}),
        index({"digest": str(digest(1)), "size": -1}),
    ],
)
def test_what_is_no_index(raw: bytes) -> None:
    with pytest.raises(ContentError, match=r"index\.json: "):
        parse_layout_index(raw, "images")


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
    found = parse_layout_index(index(*(entry(number, ref=ref) for number, ref in entries)), "images")
    names = [one.reference.cache_name for one in found]
    assert len(set(names)) == len(names)
    assert {one.digest for one in found} == {digest(number) for number, _ in entries}
