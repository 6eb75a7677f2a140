from __future__ import annotations

import pytest

from hangar_async.engine.limits.mirrors import ask_mirrors_first
from hangar_async.errors import HangarError, NotFound, StorageError
from hangar_async.oci import Reference

ONE, TWO, REGISTRY = (Reference("r.example", f"app{number}") for number in range(3))


async def asked(answers: dict[Reference, object]) -> tuple[object, list[tuple[Reference, bool]]]:
    """Ask two mirrors and a registry; return the result, and who was asked, and whether as a mirror."""
    calls: list[tuple[Reference, bool]] = []

    async def ask(source: Reference, mirror: bool) -> object:
        calls.append((source, mirror))
        answer = answers.get(source)
        if isinstance(answer, HangarError):
            raise answer
        return answer

    return await ask_mirrors_first((ONE, TWO, REGISTRY), ask), calls


async def test_the_first_answer_of_a_mirror_is_taken() -> None:
    assert await asked({ONE: "found"}) == ("found", [(ONE, True)])


async def test_mirrors_that_fail_or_have_nothing_are_passed_over() -> None:
    gone = NotFound("gone", host="r.example", status=404)
    assert await asked({ONE: gone, REGISTRY: "found"}) == ("found", [(ONE, True), (TWO, True), (REGISTRY, False)])


async def test_the_registry_has_the_last_word() -> None:
    assert (await asked({}))[0] is None
    with pytest.raises(NotFound, match="gone"):
        await asked({REGISTRY: NotFound("gone", host="r.example", status=404)})


async def test_a_disk_that_fails_is_no_matter_of_a_mirror() -> None:
    with pytest.raises(StorageError):
        await asked({ONE: StorageError("full", path="x"), REGISTRY: "found"})
