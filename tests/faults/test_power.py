"""Power is lost at any operation: the old or the new output is whole, and the next run makes all as it should be."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hangar_async.errors import HangarError
from tests.fakes.power import Held, Recorder, State, Tree, build, is_below
from tests.faults.commands import COMMANDS, Command, Content, Scene, leftovers


@dataclass
class Crashes:
    """Different states that crashes may leave: some of each operation, and of the end of the command."""

    each: int
    ended: bool = False
    chosen: random.Random = field(default_factory=lambda: random.Random(11))
    states: dict[tuple[tuple[Path, bytes | str | None], ...], tuple[str, bool]] = field(default_factory=dict)

    def __call__(self, now: Tree, operation: str) -> None:
        for _ in range(self.each):
            self.states[tuple(now.crash(self.chosen).items())] = operation, self.ended


@dataclass(frozen=True)
class Expected:
    """The outputs before and after a command, and the names in the directory after it."""

    outputs: tuple[Content, Content]
    names: list[str]


async def record(
    command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch, each: int = int(os.environ.get("CRASHES", "1"))
) -> tuple[Crashes, Expected, Recorder]:
    """Run a command, and return the states that a loss of power may leave, and the record of its operations."""
    before = await command.prepare(scene)
    crashes = Crashes(each)
    recorder = Recorder(scene.place, crashes)
    with recorder.recording(monkeypatch):
        await command.run(scene, "new")
    after = await command.found(scene)
    # Power may be lost after the end of the run as well.
    crashes.ended = True
    for _ in range(8 * each):
        crashes(recorder.tree, "the end")
    return crashes, Expected((before, after), sorted(os.listdir(scene.place))), recorder


async def problem(
    command: Command, scene: Scene, state: State, expected: Expected, *, ended: bool, only_look: bool = False
) -> str:
    """Build a state, look at the output, and run the command again; returns the first thing that is wrong."""
    again = scene.at(scene.place.with_name("again"))
    build(state, scene.place, again.place)
    try:
        found = await command.found(again)
        if found not in expected.outputs[ended:]:
            return f"the output is neither the old nor the new one: {list(found)}"
        if only_look:
            return ""
        await command.run_again(again)
        if await command.found(again) != expected.outputs[1]:
            return "the next run does not make the new output"
        names = sorted(os.listdir(again.place))
        if names != expected.names or leftovers(again.place):
            return f"the next run leaves {names} and {leftovers(again.place)}"
    except (HangarError, AssertionError) as error:
        return repr(error)
    finally:
        shutil.rmtree(again.place)
    return ""


@pytest.mark.parametrize("name", COMMANDS)
async def test_an_output_is_the_old_or_the_new_one(
    name: str, command_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = COMMANDS[name]
    command.limit_machine(monkeypatch.setattr)
    crashes, expected, _ = await record(command, command_scene, monkeypatch)
    assert expected.outputs[0] != expected.outputs[1] or name == "load"
    assert len(crashes.states) >= 3
    for state, (operation, ended) in crashes.states.items():
        assert await problem(command, command_scene, dict(state), expected, ended=ended) == "", f"after {operation}"


def out_of_order(operations: list[str]) -> Iterator[Held]:
    """Leave out each sync, and hold it until after the last rename."""
    for place, name in enumerate(operations):
        if name in ("sync", "sync_file"):
            number = operations[: place + 1].count(name)
            yield Held(name, number)
            if "rename" in operations[place:]:
                yield Held(name, number, operations.count("rename"))


def of_the_output(state: State, scene: Scene) -> State:
    """Leave out the cache of a save, which no output needs."""
    return {path: content for path, content in state.items() if not is_below(path, scene.place / "cache")}


#: Commands with syncs that a loss of power does not need: a first archive replaces nothing; the sync before older parts
#: go is for the way back after an error; an original that is copied is synced though its copy is synced too.
OTHERS = (
    "save-first",
    "save-parts-over-a-file",
    "save-file-over-parts",
    "save-without-checksum",
    "save-parts-without-checksum-and-hard-links",
    "save-directory",
    "save-directory-to-another-file-system",
    "sync",
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in OTHERS])
async def test_each_sync_and_each_order_is_needed(
    name: str, command_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator finds a bad state for each that is left out or late: it would find one that was forgotten."""
    command, harmless, seen = COMMANDS[name], [], dict[object, bool]()
    command.limit_machine(monkeypatch.setattr)
    _, expected, recorder = await record(command, command_scene, monkeypatch)
    cache = None if name == "sync" else command_scene.place / "cache"
    for held in out_of_order([operation.name for operation in recorder.operations]):
        moments = recorder.replay(held)
        for state, ended in ((state, ended) for now, ended in moments for state in now.near(cache)):
            output = state if name == "sync" else of_the_output(state, command_scene)
            key = (*output.items(), ended)
            if key not in seen:
                seen[key] = not await problem(command, command_scene, output, expected, ended=ended, only_look=True)
            if not seen[key]:
                break
        else:
            harmless.append(held)
    assert [(one.until, recorder.operation(one)) for one in harmless] == []
