from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest
from hypothesis import given, strategies as st

from hangar_async.errors import ContentError
from hangar_async.oci.digest import Digest
from hangar_async.oci.graph import (
    MAX_DEPTH,
    EntryBudget,
    documents_below,
    joined_index,
    partial_index,
    walk,
)
from hangar_async.oci.manifest import Descriptor, Index, parse_manifest
from hangar_async.oci.media_types import DOCKER_LIST, OCI_INDEX

Fields: TypeAlias = dict[str, Any]


def entry(name: str) -> Fields:
    return {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": str(Digest.of(name.encode())),
        "size": 1,
    }


def index(entries: Sequence[Fields], kind: str = OCI_INDEX) -> Index:
    found = parse_manifest(json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": list(entries)}).encode())
    assert isinstance(found, Index)
    return found


ENTRIES = [entry(name) for name in "abcd"]
ORIGINAL = index(ENTRIES)


def part(*places: int) -> Index:
    return ORIGINAL.with_only(tuple(ORIGINAL.manifests[place] for place in places))


@pytest.mark.parametrize(
    ("one", "two", "all_of"), [((0,), (1, 2), (0, 1, 2)), ((3, 1), (0,), (0, 1, 3)), ((2,), (2,), (2,))]
)
def test_parts_are_put_together_in_the_order_of_the_original(
    one: tuple[int, ...], two: tuple[int, ...], all_of: tuple[int, ...]
) -> None:
    assert joined_index(ORIGINAL, [part(*one), part(*two)], {}) == part(*all_of)


def test_when_nothing_is_missing_it_is_the_original() -> None:
    assert joined_index(ORIGINAL, [part(0, 2), part(3, 1)], {}) is ORIGINAL


def test_an_index_with_a_foreign_entry_joins_nothing() -> None:
    other = index([entry("x")])
    assert joined_index(ORIGINAL, [part(0), other], {}) is None
    assert joined_index(ORIGINAL, [part(0), index(ENTRIES[:1], DOCKER_LIST)], {}) is None


def test_indexes_within_the_original_are_looked_into() -> None:
    inner = index([entry("x"), entry("y")])
    nested = index([entry("a"), {**inner.descriptor.to_json()}])
    documents = {inner.digest: inner}
    x, y = (index([entry(name)]) for name in "xy")
    some = joined_index(nested, [x], documents)
    assert some is not None
    assert [one.digest for one in some.manifests] == [inner.manifests[0].digest]
    assert joined_index(nested, [x, y, index([entry("a")])], documents) is nested
    both = joined_index(nested, [x, y], documents)
    assert both is not None
    assert [one.digest for one in both.manifests] == [inner.digest]
    assert joined_index(nested, [x], {}) is None  # without the inner index nobody knows where x belongs


@given(st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=1, max_size=4))
def test_the_order_of_the_parts_changes_nothing(parts: list[set[int]]) -> None:
    indexes = [part(*places) for places in parts]
    found = joined_index(ORIGINAL, indexes, {})
    assert found == joined_index(ORIGINAL, indexes[::-1], {})
    assert found is not None
    held: set[Descriptor] = set(found.manifests)
    assert held == {ORIGINAL.manifests[place] for places in parts for place in places}


def chain(depth: int, width: int) -> tuple[Index, dict[Digest, Index]]:
    """Make an index that names the next one `width` times, each time for another platform, `depth` deep."""
    below = index([entry("leaf")])
    documents = {below.digest: below}
    for _ in range(depth):
        fields = below.descriptor.to_json()
        platforms = [{"architecture": f"a{number}", "os": "linux"} for number in range(width)]
        below = index([{**fields, "platform": platform} for platform in platforms])
        documents[below.digest] = below
    return below, documents


def test_a_digest_that_is_named_often_is_expanded_once() -> None:
    root, documents = chain(depth=9, width=60)
    nodes = list(walk(root.descriptor, documents))
    assert len(nodes) == 9 * 60 + 2
    assert documents_below(root, documents)[-1] is root
    assert partial_index(root, [Digest.of(b"leaf")], documents) is root


def test_indexes_that_are_nested_too_deep_are_refused() -> None:
    root, documents = chain(depth=MAX_DEPTH + 1, width=1)
    with pytest.raises(ContentError, match="nested too deep"):
        list(walk(root.descriptor, documents))
    with pytest.raises(ContentError, match="nested too deep"):
        documents_below(root, documents)


def test_more_entries_than_the_budget_are_refused() -> None:
    budget = EntryBudget(7)
    assert len(list(walk(ORIGINAL.descriptor, {ORIGINAL.digest: ORIGINAL}, budget))) == 5
    with pytest.raises(ContentError, match="more than 7 blobs"):
        list(walk(ORIGINAL.descriptor, {ORIGINAL.digest: ORIGINAL}, budget))


def test_a_walk_visits_parents_first_and_in_the_order_of_the_documents() -> None:
    inner = index([entry("x"), entry("a")])
    root = index([entry("a"), inner.descriptor.to_json(), entry("b")])
    digests = [node.descriptor.digest for node in walk(root.descriptor, {one.digest: one for one in (root, inner)})]
    names = [root.digest, Digest.of(b"a"), inner.digest, Digest.of(b"x"), Digest.of(b"b")]
    assert digests == names


def test_a_document_that_is_not_known_has_no_children() -> None:
    nodes = list(walk(ORIGINAL.descriptor, {}))
    assert [(node.descriptor.digest, node.document, node.is_blob) for node in nodes] == [(ORIGINAL.digest, None, False)]


def test_an_entry_that_stands_twice_stays_twice() -> None:
    twice = index([{**entry("a"), "platform": {"os": "linux", "architecture": name}} for name in ("amd64", "arm64")])
    root = index([*[json.loads(one.raw) for one in twice.manifests], entry("b")])
    assert partial_index(root, [Digest.of(b"a")], {}).manifests == root.manifests[:2]


LAYER = {**entry("layer"), "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}


def test_entries_that_are_no_documents_are_visited_as_blobs() -> None:
    cache = index([LAYER, entry("a")])
    nodes = list(walk(cache.descriptor, {cache.digest: cache}))
    assert [(node.descriptor.digest, node.is_blob) for node in nodes[1:]] == [
        (Digest.of(b"layer"), True),
        (Digest.of(b"a"), False),
    ]
    assert cache.blobs == cache.manifests[:1]


def test_a_digest_that_is_named_as_a_blob_first_is_visited_as_a_document_too() -> None:
    inner = index([entry("a")])
    fields = inner.descriptor.to_json()
    outer = index([{**fields, "mediaType": LAYER["mediaType"]}, fields])
    nodes = list(walk(outer.descriptor, {outer.digest: outer, inner.digest: inner}))
    assert [node.is_blob for node in nodes] == [False, True, False, False]
    assert nodes[-1].descriptor.digest == Digest.of(b"a")
