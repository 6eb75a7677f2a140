"""The loss of power, simulated: the operations of the disk are recorded, and states that a crash may leave are built.

The model: the content of a file that was not synced may be lost, torn, or zeros of the right length. An entry of a
directory (a new file, a rename, a link, a removal) that was not followed by a sync of this directory may be missing;
any subset of such operations may have happened. A directory that is renamed takes along what is in it by then.
Everything before a sync stays.
"""

from __future__ import annotations

import functools
import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations, count
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from hangar_async.disk import Disk


def is_below(path: Path, directory: Path | None) -> bool:
    """Tell whether a path is a directory, or is in it; compares strings, which is many times as fast as `parents`."""
    return directory is not None and f"{path}/".startswith(f"{directory}/")


@dataclass(eq=False)
class File:
    """A file: its bytes now, its bytes at the last sync, and the numbers of its writes since."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    is_synced: bool = False
    #: The contents that a crash may leave, while nothing changes.
    _contents: list[bytes] = field(default_factory=list)

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        self.data += data
        self.is_synced = False
        self._contents = []

    def truncate(self) -> None:
        """Forget all bytes."""
        self.data, self.is_synced, self._contents = bytearray(), False, []

    def sync(self) -> None:
        """Bring all bytes to the disk."""
        self.synced, self.is_synced, self._contents = bytes(self.data), True, []

    def contents(self) -> list[bytes]:
        """Return the contents that a crash may leave, what it holds now first; a few lengths stand for all."""
        self._contents = self._contents or self._find_contents()
        return self._contents

    def _find_contents(self) -> list[bytes]:
        if self.is_synced:
            return [bytes(self.data)]
        torn = [bytes(self.data[: len(self.data) * thirds // 3]) for thirds in range(3)]
        zeros = self.synced + bytes(max(0, len(self.data) - len(self.synced)))
        return [bytes(self.data), self.synced, zeros, *torn]


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


class Directory:
    """A directory; its entries are those of the tree."""


Node: TypeAlias = File | Link | Directory
#: The entries of a tree by their paths.
Entries: TypeAlias = dict[Path, Node]


@dataclass(frozen=True)
class Entry:
    """A change of a directory: an entry that appears, or goes where `node` is None."""

    path: Path
    node: Node | None

    def apply(self, entries: Entries) -> None:
        """Make the change."""
        if self.node is not None:
            entries[self.path] = self.node
            return
        for other in [other for other in entries if is_below(other, self.path)]:
            del entries[other]

    def is_in(self, directory: Path) -> bool:
        """Tell whether the change is one of a directory."""
        return self.path.parent == directory

    @property
    def paths(self) -> tuple[Path, ...]:
        """The names that it changes."""
        return (self.path,)

    def moved(self, move: Move) -> Entry:
        """Return the same change after an earlier directory has moved."""
        return Entry(move.of(self.path), self.node)


@dataclass(frozen=True)
class Move:
    """A rename: of the node, and of what is below it at that time and on the disk by then."""

    source: Path
    target: Path
    node: Node

    def of(self, path: Path) -> Path:
        """Return the path of a file after the move."""
        return self.target / path.relative_to(self.source) if is_below(path, self.source) else path

    def apply(self, entries: Entries) -> None:
        """Make the change."""
        below = {path: node for path, node in entries.items() if path != self.source and is_below(path, self.source)}
        for path in (self.source, self.target):
            Entry(path, None).apply(entries)
        entries[self.target] = self.node
        entries.update((self.of(path), node) for path, node in below.items())

    def is_in(self, directory: Path) -> bool:
        """Tell whether the change is one of a directory."""
        return directory in (self.source.parent, self.target.parent)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The names that it changes."""
        return self.source, self.target

    def moved(self, move: Move) -> Move:
        """Return the same change after an earlier directory has moved."""
        return Move(move.of(self.source), move.of(self.target), self.node)


Change: TypeAlias = Entry | Move
#: The files of a tree with their bytes, links with their target, and directories.
State: TypeAlias = dict[Path, bytes | str | None]


@dataclass
class Tree:
    """The entries below a root as they are now, as they are on the disk, and the changes in between, in their order."""

    root: Path
    now: Entries = field(default_factory=dict)
    disk: Entries = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    @classmethod
    def read(cls, root: Path) -> Tree:
        """Read a real directory, all of which is on the disk."""
        tree = cls(root)
        for path in sorted(root.rglob("*")):
            node: Node = Directory()
            if path.is_symlink():
                node = Link(str(path.readlink()))
            elif path.is_file():
                data = path.read_bytes()
                node = File(bytearray(data), data, True)
            tree.now[path] = node
        tree.disk = dict(tree.now)
        return tree

    def copy(self) -> Tree:
        """Copy a tree all of which is on the disk."""
        files = {
            node: File(bytearray(node.data), node.synced, True) for node in self.now.values() if isinstance(node, File)
        }
        entries = {path: files[node] if isinstance(node, File) else node for path, node in self.now.items()}
        return Tree(self.root, entries, dict(entries))

    def change(self, change: Change) -> None:
        """Make a change."""
        change.apply(self.now)
        self.pending.append(change)

    def sync(self, directory: Path) -> None:
        """Bring the changes of a directory to the disk."""
        rest: list[Change] = []
        for number, change in enumerate(self.pending):
            if change.is_in(directory) or self._now(change, number).is_in(directory):
                change.apply(self.disk)
                if isinstance(change, Move):
                    rest = [earlier.moved(change) for earlier in rest]
            else:
                rest.append(change)
        self.pending = rest

    def _now(self, change: Change, number: int) -> Change:
        """Return a pending change by the names that its files have now."""
        for later in self.pending[number + 1 :]:
            if isinstance(later, Move):
                change = change.moved(later)
        return change

    def crash(self, chosen: random.Random) -> State:
        """Choose one state that a crash may leave."""
        share = chosen.choice([0.0, 0.5, 1.0])
        happened = [change for change in self.pending if chosen.random() < share]
        return self._state(happened, lambda file: chosen.choice(file.contents()))

    def near(self, ignored: Path | None = None, *, pairs: bool = False) -> Iterator[State]:
        """Make the states that a crash may leave in which little of the changes so far is lost, or little is left.

        Lost is nothing, the content of one file, one change of a directory, all of one directory, or all changes but
        one; or with `pairs` two changes, or all but two. What is below `ignored` is not lost.
        """
        changes = [change for change in self.pending if not any(is_below(path, ignored) for path in change.paths)]
        numbers = {id(change): number for number, change in enumerate(changes)}
        every = set(numbers.values())
        few = [set(chosen) for chosen in combinations(every, 2 if pairs else 1)]
        lost = [*few, *(every - left for left in few)]
        if not pairs:
            for file in {
                node for path, node in self.now.items() if isinstance(node, File) and not is_below(path, ignored)
            }:
                for content in file.contents()[1:]:
                    yield self._state(self.pending, functools.partial(_content, file, content))
            directories = {path.parent for change in changes for path in change.paths}
            lost += [set(), every, *({n for n in every if changes[n].is_in(directory)} for directory in directories)]
        for gone in lost:
            happened = [change for change in self.pending if numbers.get(id(change)) not in gone]
            yield self._state(happened, lambda file: file.contents()[0])

    def _state(self, happened: Iterable[Change], content: Callable[[File], bytes]) -> State:
        """Make the state in which these changes are on the disk, with some content of each file."""
        entries = dict(self.disk)
        for change in happened:
            change.apply(entries)
        state: State = {}
        contents: dict[File, bytes] = {}
        for path, entry in sorted(entries.items(), key=lambda item: item[0].parts):
            if path.parent not in state and path.parent != self.root:
                continue  # its directory is missing
            if isinstance(entry, File):
                if entry not in contents:
                    contents[entry] = content(entry)
                state[path] = contents[entry]
            else:
                state[path] = entry.target if isinstance(entry, Link) else None
        return state


def _content(lost: File, left: bytes, file: File) -> bytes:
    return left if file is lost else file.contents()[0]


@dataclass(frozen=True)
class Held:
    """An operation, by its number, that only happens after the one of the number `until`; None is never."""

    number: int
    until: int | None = None


#: The operations that change names.
NAMING = ("rename", "keep", "remove")


@dataclass(frozen=True)
class Operation:
    """An operation of a Disk that has happened, with its result; that of a removal is True where it removed a name."""

    name: str
    result: Any
    arguments: tuple[Any, ...]


class Player:
    """Makes recorded operations in a tree.

    `held` is in the wrong order or left out, as if the program had forgotten it; only states after a later change of
    names count then.
    """

    def __init__(self, tree: Tree, held: Held | None = None) -> None:
        self.tree = tree
        self._held = held
        self._numbers = count()
        self._later: Operation | None = None
        self._is_reached = False
        self._files: dict[int, File] = {}

    def play(self, operation: Operation) -> Iterator[Tree]:
        """Make one operation; yields the tree at each moment at which a crash counts."""
        number = next(self._numbers)
        if self._held is None:
            self._note(operation)
            yield self.tree
            return
        if number == self._held.number:
            self._later, self._is_reached = operation, True
            return
        self._note(operation)
        if self._is_reached and operation.name in NAMING:
            yield self.tree
        if self._later is not None and number == self._held.until:
            later, self._later = self._later, None
            self._note(later)
            yield self.tree

    def _note(self, operation: Operation) -> None:
        getattr(self, f"_{operation.name}")(operation.result, *operation.arguments)

    def _create(self, descriptor: int, path: Path, *_: object) -> None:
        self._files[descriptor] = file = File()
        self.tree.change(Entry(path, file))

    def _reopen(self, descriptor: int | None, path: Path) -> None:
        node = self.tree.now.get(path)
        if descriptor is not None and isinstance(node, File):
            self._files[descriptor] = node

    def _write(self, _: None, descriptor: int, data: bytes | memoryview, path: Path) -> None:
        file = self._files.get(descriptor)
        if file is not None:
            file.write(data)

    def _truncate(self, _: None, descriptor: int, path: Path) -> None:
        file = self._files.get(descriptor)
        if file is not None:
            file.truncate()

    def _sync_file(self, _: None, descriptor: int, path: Path) -> None:
        self._synced(self._files.get(descriptor))

    def _sync(self, _: None, path: Path) -> None:
        node = self.tree.now.get(path)
        if isinstance(node, File):
            self._synced(node)
        else:
            self.tree.sync(path)

    def _synced(self, file: File | None) -> None:
        if file is not None:
            file.sync()

    def _rename(self, _: None, source: Path, target: Path) -> None:
        node = self.tree.now.get(source)
        if node is not None:
            self.tree.change(Move(source, target, node))

    def _keep(self, kept: bool, path: Path, name: Path) -> None:
        node = self.tree.now.get(path)
        if kept and node is not None:
            self.tree.change(Entry(name, node))

    def _link(self, made: bool, path: Path, target: str) -> None:
        if made:
            self.tree.change(Entry(path, Link(target)))

    def _remove(self, _: None, path: Path) -> None:
        if path in self.tree.now:
            self.tree.change(Entry(path, None))

    def _make_directory(self, _: None, path: Path, *arguments: object) -> None:
        for directory in (*reversed(path.parents), path):
            if self.tree.root in directory.parents and directory not in self.tree.now:
                self.tree.change(Entry(directory, Directory()))


class Recorder:
    """Records the operations of every Disk below a root, and the states that a crash after each of them may leave."""

    def __init__(self, root: Path, states: Callable[[Tree, str], None]) -> None:
        self._root = root
        self._start = Tree.read(root)
        self._player = Player(Tree.read(root))
        self._states = states
        #: All operations, in their order.
        self.operations: list[Operation] = []
        self._lock = threading.RLock()

    @property
    def tree(self) -> Tree:
        """The tree as it is now."""
        return self._player.tree

    def replay(self, held: Held) -> Iterator[tuple[Tree, bool]]:
        """Make the same operations once more, all but one in their order.

        Yields the tree at each moment at which a crash counts, and whether the command has ended.
        """
        player = Player(self._start.copy(), held)
        for operation in self.operations:
            for tree in player.play(operation):
                yield tree, False
        yield player.tree, True

    @contextmanager
    def recording(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Record during the block."""
        with monkeypatch.context() as patch:
            for name in ("create", "reopen", "write", "truncate", "sync_file", "sync", "rename", "keep", "link"):
                self._wrap(patch, name)
            for name in ("remove", "make_directory"):
                self._wrap(patch, name)
            yield

    def _wrap(self, patch: pytest.MonkeyPatch, name: str) -> None:
        method = getattr(Disk, name)

        @functools.wraps(method)
        def recorded(disk: Disk, *arguments: Any, **keywords: Any) -> Any:
            with self._lock:
                noted = tuple(bytes(value) if isinstance(value, memoryview) else value for value in arguments)
                was_there = os.path.lexists(arguments[0]) if name == "remove" else None
                result = method(disk, *arguments, **keywords)
                happened = result and os.path.lexists(arguments[0]) if name == "keep" else was_there or result
                self.operations.append(Operation(name, happened, noted))
                for tree in self._player.play(self.operations[-1]):
                    self._states(tree, name)
                return result

        patch.setattr(Disk, name, recorded)


def build(state: State, root: Path, target: Path) -> None:
    """Write a state, below another root."""
    target.mkdir()
    for path, content in state.items():
        place = target / path.relative_to(root)
        if content is None:
            place.mkdir()
        elif isinstance(content, str):
            place.symlink_to(content)
        else:
            place.write_bytes(content)
