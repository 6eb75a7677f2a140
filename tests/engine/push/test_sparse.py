from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hangar_async.disk import Disk
from hangar_async.engine.push.sparse import SparseIndexes
from hangar_async.errors import Incomplete, RegistryError
from hangar_async.state.hints import NO_STATE, State

HOST = "r.example"


def refusal(status: int, code: str = "") -> RegistryError:
    kind = Incomplete if code == "MANIFEST_BLOB_UNKNOWN" else RegistryError
    return kind("no", host=HOST, status=status, code=code)


async def refused(indexes: SparseIndexes, error: RegistryError) -> bool:
    async def put() -> None:
        raise error

    return not await indexes.push(HOST, put)


@pytest.mark.parametrize(
    "error", [refusal(400, "MANIFEST_BLOB_UNKNOWN"), refusal(404, "BLOB_UNKNOWN"), refusal(400, "MANIFEST_INVALID")]
)
async def test_a_registry_that_refuses_one_is_not_tried_again(error: RegistryError) -> None:
    indexes = SparseIndexes("auto", NO_STATE)
    assert indexes.may_refuse(HOST)
    assert await refused(indexes, error)
    assert indexes.refuses(HOST)
    assert not indexes.may_refuse(HOST)
    indexes.forget(HOST)
    assert indexes.may_refuse(HOST)


@pytest.mark.parametrize("error", [refusal(403, "DENIED"), refusal(400, "TAG_INVALID"), refusal(500)])
async def test_a_refusal_of_another_kind_is_raised(error: RegistryError) -> None:
    indexes = SparseIndexes("auto", NO_STATE)
    with pytest.raises(RegistryError):
        await refused(indexes, error)
    assert not indexes.refuses(HOST)


async def test_the_first_answer_is_for_all_that_wait() -> None:
    indexes, tries = SparseIndexes("auto", NO_STATE), 0

    async def put() -> None:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        raise refusal(400, "MANIFEST_BLOB_UNKNOWN")

    assert await asyncio.gather(*(indexes.push(HOST, put) for _ in range(5))) == [False] * 5
    assert tries == 1


async def test_only_a_partial_index_that_was_taken_confirms_it_for_later_runs(tmp_path: Path) -> None:
    def ignore(_: str) -> None:
        return None

    for confirmed in (False, True):
        async with State.opened(tmp_path / "state", Disk(), ignore, lambda: 0.0) as state:
            indexes = SparseIndexes("auto", state)
            assert not indexes.refuses(HOST)
            assert await refused(indexes, refusal(400, "MANIFEST_BLOB_UNKNOWN"))
            if confirmed:
                await indexes.confirm(HOST)
    async with State.opened(tmp_path / "state", Disk(), ignore, lambda: 0.0) as state:
        assert SparseIndexes("auto", state).refuses(HOST)
        assert not SparseIndexes("original", state).refuses(HOST)
