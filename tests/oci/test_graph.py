import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.oci.digest import Digest
from hangar_async.oci.graph import joined, reachable
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
    assert joined(ORIGINAL, [part(*one), part(*two)], {}) == part(*all_of)


def test_when_nothing_is_missing_it_is_the_original() -> None:
    assert joined(ORIGINAL, [part(0, 2), part(3, 1)], {}) is ORIGINAL


def test_what_is_no_part_is_told() -> None:
    other = index([entry("x")])
    assert joined(ORIGINAL, [part(0), other], {}) is None
    assert joined(ORIGINAL, [part(0), index(ENTRIES[:1], DOCKER_LIST)], {}) is None


def test_indexes_within_the_original_are_looked_into() -> None:
    inner = index([entry("x"), entry("y")])
    nested = index([entry("a"), {**inner.descriptor.to_json()}])
    documents = {inner.digest: inner}
    x, y = (index([entry(name)]) for name in "xy")
    some = joined(nested, [x], documents)
    assert some is not None
    assert [one.digest for one in some.manifests] == [inner.manifests[0].digest]
    assert joined(nested, [x, y, index([entry("a")])], documents) is nested
    both = joined(nested, [x, y], documents)
    assert both is not None
    assert [one.digest for one in both.manifests] == [inner.digest]
    assert joined(nested, [x], {}) is None  # without the inner index nobody knows where x belongs
    assert reachable(nested, documents) == {Digest.of(b"a"), inner.digest, Digest.of(b"x"), Digest.of(b"y")}


@given(st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=1, max_size=4))
def test_the_order_of_the_parts_says_nothing(parts: list[set[int]]) -> None:
    indexes = [part(*places) for places in parts]
    found = joined(ORIGINAL, indexes, {})
    assert found == joined(ORIGINAL, indexes[::-1], {})
    assert found is not None
    held: set[Descriptor] = set(found.manifests)
    assert held == {ORIGINAL.manifests[place] for places in parts for place in places}
