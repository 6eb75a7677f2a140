"""Each repository is in one shard, the same for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from hangar_async.config.shard import Shard, shard_of_flags
from hangar_async.errors import UsageError

NAMES = st.from_regex(r"[a-z]{1,8}\.local/[a-z]{1,8}(/[a-z]{1,8})?", fullmatch=True)


def shards(count: int) -> list[Shard]:
    return [Shard(number, count) for number in range(count)]


@given(st.lists(NAMES, unique=True), st.integers(1, 40))
def test_shards_are_disjoint_and_complete_and_know_the_name_alone(names: list[str], count: int) -> None:
    alone = {name: [name in shard for shard in shards(count)] for name in names}
    assert all(found.count(True) == 1 for found in alone.values())
    assert {name: [name in shard for shard in shards(count)] for name in reversed(names)} == alone


@pytest.mark.parametrize(
    ("name", "number"),
    [("docker.io/library/nginx", 1), ("registry.local:5000/team/app", 6), ("quay.io/prometheus/prometheus", 4)],
)
def test_the_shard_of_a_repository_never_changes(name: str, number: int) -> None:
    """Runs of other releases share lists with this one."""
    assert [shard.number for shard in shards(7) if name in shard] == [number]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", r"'1' is no shard \(--shard\): write I/N"),
        ("-1/4", "is no shard"),
        ("4/4", "there is no shard 4 of 4"),
        ("0/0", "0 shards"),
        ("0/100001", "from 1 to 100,000"),
    ],
)
def test_wrong_shards(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Shard.parse(text)


def test_the_number_of_an_indexed_job() -> None:
    variables = {"JOB_COMPLETION_INDEX": "2"}
    assert shard_of_flags(None, None, variables) is None
    assert shard_of_flags("1/3", None, variables) == "1/3"
    assert shard_of_flags(None, 4, variables) == "2/4"
    with pytest.raises(UsageError, match="leave out --shards"):
        shard_of_flags("1/3", 3, variables)
    with pytest.raises(UsageError, match="write --shard I/4"):
        shard_of_flags(None, 4, {})
