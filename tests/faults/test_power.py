"""Power is lost at any operation: the old or the new output is whole, and the next run makes all as it should be."""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from fnmatch import filter as fnmatch_filter, fnmatch
from pathlib import Path

import pytest

from hangar_async.errors import HangarError
from tests.fakes.power import Held, Operation, Recorder, State, Tree, build, is_below
from tests.faults.commands import COMMANDS, Command, Content, Scene, leftovers

#: The losses of power after each operation; in `make test` the output is looked at after more of them, which is cheap.
EACH = int(os.environ.get("CRASHES", "1"))
LOOKS = 0 if "CRASHES" in os.environ else 7


@dataclass
class Crash:
    """A state that a crash left: after which operation, after the end of the command, and with a next run or a look."""

    operation: str
    ended: bool
    only_look: bool


@dataclass
class Crashes:
    """Different states that crashes may leave: some of each operation, and of the end of the command."""

    ended: bool = False
    chosen: random.Random = field(default_factory=lambda: random.Random(11))
    states: dict[tuple[tuple[Path, bytes | str | None], ...], Crash] = field(default_factory=dict)

    def __call__(self, now: Tree, operation: str) -> None:
        for number in range(EACH + LOOKS):
            state = tuple(now.crash(self.chosen).items())
            before = self.states.get(state)
            only_look = number >= EACH and (before is None or before.only_look)
            self.states[state] = Crash(operation, self.ended, only_look)


@dataclass(frozen=True)
class Expected:
    """The outputs before and after a command, and the names in the directory after it."""

    outputs: tuple[Content, Content]
    names: list[str]


async def record(command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> tuple[Crashes, Expected, Recorder]:
    """Run a command, and return the states that a loss of power may leave, and the record of its operations."""
    before = await command.prepare(scene)
    crashes = Crashes()
    recorder = Recorder(scene.place, crashes)
    with recorder.recording(monkeypatch):
        await command.run(scene, "new")
    after = await command.found(scene)
    # Power may be lost after the end of the run as well.
    crashes.ended = True
    for _ in range(8):
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
    except (HangarError, AssertionError, OSError, ValueError) as error:
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
    runs = sum(not crash.only_look for crash in crashes.states.values())
    sys.stdout.write(f"{name}: {len(crashes.states)} states, {runs} of them with a next run\n")
    for state, crash in crashes.states.items():
        wrong = await problem(
            command, command_scene, dict(state), expected, ended=crash.ended, only_look=crash.only_look
        )
        assert wrong == "", f"after {crash.operation}"


#: The syncs and orders that no loss of power needs, by command and pattern, and why they are there.
HARMLESS = {
    "save-parts-over-a-file": {
        "no sync . after rename out.tar.gz.sha256": "the older files stay as long as it can fail",
    },
    "save-file-over-parts": {
        "no sync . after rename out.tar.zstd.sha256": "the older files stay as long as it can fail",
    },
    "save-directory-to-another-file-system": {
        "no sync cache*": "only the rename that follows tells that the cache is copied",
    },
    "sync-first": {
        "late sync . after make_directory cache": "the end needs it; until then no cache is right too",
    },
    "login-first": {
        "late sync . after make_directory new": "the end needs it; until then no login is right too",
    },
    "sync": {
        "no sync cache after make_directory cache/.partial": "a first sync needs it; here only folders are new",
        "no sync cache/share after make_directory cache/.partial": "a first sync needs it; here nothing is new",
        "late rename cache/oci-layout": "a first sync needs it; here the file before has the same bytes",
    },
}
#: What is no output: a name that stays is removed, or put back, by the next run.
_PASSING = re.compile(r".*\.(tmp|partial|aside)(/.*)?")


def last_rename(operations: list[Operation]) -> int:
    """Return the number of the last rename, -1 where there is none."""
    return max((number for number, operation in enumerate(operations) if operation.name == "rename"), default=-1)


def late_changes(operations: list[Operation], needed: Collection[int], ignored: Path | None) -> Iterator[Held]:
    """Hold each change of the output's names until after the next needed sync of its directory, or a later last rename.

    Two changes without a sync in between are in no order: any subset may be on the disk. A second name that is kept is
    for the way back after an error.
    """
    for number, operation in enumerate(operations):
        if operation.name == "rename" or (operation.name == "remove" and operation.result):
            *sources, path = operation.arguments
            if is_below(path, ignored) or _PASSING.fullmatch(str(path)):
                continue
            directories = {path.parent, *(source.parent for source in sources)}
            syncs = [sync for sync in needed if sync > number and operations[sync].arguments[0] in directories]
            for until in {*syncs[:1], *([last_rename(operations)] if syncs else [])}:
                if until >= syncs[0]:
                    yield Held(number, until)


def described(operations: list[Operation], number: int, place: Path) -> str:
    """Describe an operation: a file that is renamed by its later name, a directory with the change before its sync."""
    operation = operations[number]
    path = operation.arguments[-1] if operation.name in ("rename", "sync_file") else operation.arguments[0]
    if operation.name == "sync_file":
        later = (other.arguments for other in operations[number:] if other.name == "rename")
        path = next((target for source, target in later if source == path), path)
    text = f"{operation.name} {path.relative_to(place)}"
    files = [other.arguments[-1] for other in operations if other.name in ("create", "rename")]
    if operation.name == "sync" and path not in files:
        before = max(place for place in range(number) if operations[place].name not in ("sync", "sync_file"))
        text += f" after {described(operations, before, place)}"
    return text


def of_the_output(state: State, scene: Scene) -> State:
    """Leave out the cache of a save, which no output needs."""
    return {path: content for path, content in state.items() if not is_below(path, scene.place / "cache")}


@dataclass
class Search:
    """Searches bad states in the record of a command; `seen` are states, and whether they are bad."""

    command: Command
    scene: Scene
    expected: Expected
    recorder: Recorder
    is_cached: bool
    ignored: Path | None
    seen: dict[object, bool] = field(default_factory=dict)

    async def finds(self, held: Held) -> bool:
        """Tell whether a crash is bad with an operation left out or late; a cache that is ignored loses nothing."""
        operation = self.recorder.operations[held.number]
        if operation.name == "sync" and is_below(operation.arguments[0], self.ignored):
            return False
        # Pairs of changes are the most states, and one change is often enough.
        for pairs in (False, True):
            for now, ended in self.recorder.replay(held):
                for state in now.near(self.ignored, pairs=pairs):
                    if await self._is_bad(of_the_output(state, self.scene) if self.is_cached else state, ended):
                        return True
        return False

    async def _is_bad(self, state: State, ended: bool) -> bool:
        key = (*state.items(), ended)
        if key not in self.seen:
            found = await problem(self.command, self.scene, state, self.expected, ended=ended, only_look=True)
            self.seen[key] = bool(found)
        return self.seen[key]

    async def harmless(self) -> list[str]:
        """Describe the operations that may be left out, and those that may be late."""
        operations, last = self.recorder.operations, last_rename(self.recorder.operations)
        found, needed = list[tuple[str, int]](), list[int]()
        for number, operation in enumerate(operations):
            if operation.name in ("sync", "sync_file"):
                if not await self.finds(Held(number)):
                    found.append(("no", number))
                    continue
                needed.append(number)
                if number < last and not await self.finds(Held(number, last)):
                    found.append(("late", number))
        for held in late_changes(operations, needed, self.ignored):
            if not await self.finds(held):
                found.append(("late", held.number))
        return [f"{way} {described(operations, number, self.scene.place)}" for way, number in found]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", COMMANDS)
async def test_each_sync_and_each_order_is_needed(
    name: str, command_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator finds a bad state for each that is left out or late: it would find one that was forgotten."""
    command, is_cached = COMMANDS[name], not name.startswith("sync")
    command.limit_machine(monkeypatch.setattr)
    _, expected, recorder = await record(command, command_scene, monkeypatch)
    # A cache that becomes the output loses what the output loses.
    ignored = command_scene.place / "cache" if is_cached and name != "save-directory" else None
    harmless = await Search(command, command_scene, expected, recorder, is_cached, ignored).harmless()
    patterns = HARMLESS.get(name, {})
    assert [text for text in harmless if not any(fnmatch(text, pattern) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not fnmatch_filter(harmless, pattern)] == []
