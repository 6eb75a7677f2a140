"""Programs are run to their end, or are ended with all that they started."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hangar_async.processes import LARGEST_OUTPUT, run_program


async def test_a_program_has_its_input_its_variables_and_no_others() -> None:
    script = "cat; env | grep -v -e ^PWD -e ^SHLVL -e ^_=; echo told >&2; exit 3"
    found = await run_program(["/bin/sh", "-c", script], 60, b"asked\n", environ={"A": "b"})
    assert found == (3, b"asked\nA=b\n")


async def test_errors_come_with_the_output_where_they_are_asked_for() -> None:
    assert await run_program(["/bin/sh", "-c", "echo told >&2"], 60, with_errors=True) == (0, b"told\n")


async def test_output_without_end_takes_no_memory_without_end() -> None:
    _, output = await run_program(["/bin/sh", "-c", f"head -c {3 * LARGEST_OUTPUT} /dev/zero"], 60)
    assert LARGEST_OUTPUT < len(output) < 2 * LARGEST_OUTPUT


async def test_a_program_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await run_program([str(tmp_path / "none")], 60)


@pytest.mark.parametrize("by", ["cancellation", "time"])
async def test_a_program_is_ended_with_all_that_it_started(tmp_path: Path, by: str) -> None:
    os.mkfifo(tmp_path / "held")
    # The shell and its child hold the pipe open for as long as they live.
    words = ["/bin/sh", "-c", f"exec 3> {tmp_path}/held; echo started >&3; sleep 600; echo over"]
    task = asyncio.ensure_future(run_program(words, 600 if by == "cancellation" else 0.5))
    with await asyncio.to_thread((tmp_path / "held").open) as held:
        assert await asyncio.to_thread(held.readline) == "started\n"
        if by == "cancellation":
            task.cancel()
        await asyncio.wait([task])
        assert await asyncio.to_thread(held.read) == ""
    assert task.cancelled() or isinstance(task.exception(), TimeoutError)
