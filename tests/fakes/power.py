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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from hangar_async.disk import Disk


@dataclass(eq=False)
class File:
    """A file: its bytes now, its bytes at the last sync, and the numbers of its writes since."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    is_synced: bool = False

    def contents(self, chosen: random.Random) -> bytes:
        """Choose one content that a crash may leave."""
        if self.is_synced:
            return bytes(self.data)
        # Few lengths, so that many states are the same, and have to be looked at once.
        torn = bytes(self.data[: len(self.data) * chosen.randint(0, 3) // 3])
        zeros = self.synced + bytes(max(0, len(self.data) - len(self.synced)))
        return chosen.choice([self.synced, torn, zeros, bytes(self.data)])


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
        for other in [other for other in entries if other == self.path or self.path in other.parents]:
            del entries[other]

    def is_in(self, directory: Path) -> bool:
        """Tell whether the change is one of a directory."""
        return self.path.parent == directory

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
        return self.target / path.relative_to(self.source) if self.source in (path, *path.parents) else path

    def apply(self, entries: Entries) -> None:
        """Make the change."""
        below = {path: node for path, node in entries.items() if self.source in path.parents}
        for path in (self.source, self.target):
            Entry(path, None).apply(entries)
        entries[self.target] = self.node
        entries.update((self.of(path), node) for path, node in below.items())

    def is_in(self, directory: Path) -> bool:
        """Tell whether the change is one of a directory."""
        return directory in (self.source.parent, self.target.parent)

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
        entries = dict(self.disk)
        share = chosen.choice([0.0, 0.5, 1.0])
        for change in self.pending:
            if chosen.random() < share:
                change.apply(entries)
        state: State = {}
        contents: dict[File, bytes] = {}
        for path, entry in sorted(entries.items(), key=lambda item: item[0].parts):
            if any(parent not in entries for parent in path.parents if self.root in parent.parents):
                continue  # its directory is missing
            if isinstance(entry, File):
                state[path] = contents.setdefault(entry, entry.contents(chosen))
            else:
                state[path] = entry.target if isinstance(entry, Link) else None
        return state


@dataclass(frozen=True)
class Held:
    """An operation, by its name and number, that only happens after the next one named `until`, or never."""

    name: str
    number: int
    until: str = ""


class Recorder:
    """Records the operations of every Disk below a root, and the states that a crash after each of them may leave.

    `held` is in the wrong order or left out, as if the program had forgotten it; only states after a later change of
    names count then.
    """

    def __init__(self, root: Path, states: Callable[[Tree, str], None], held: Held | None = None) -> None:
        self.tree = Tree.read(root)
        #: The names of all operations, in their order.
        self.operations: list[str] = []
        self._states = states
        self._held = held
        self._later: Callable[[], None] | None = None
        self._is_reached = False
        self._files: dict[int, File] = {}
        self._lock = threading.RLock()

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
        operation, note = getattr(Disk, name), getattr(self, f"_{name}")

        @functools.wraps(operation)
        def recorded(disk: Disk, *arguments: Any, **keywords: Any) -> Any:
            with self._lock:
                self.operations.append(name)
                number = self.operations.count(name)
                if self._held and (self._held.name, self._held.number) == (name, number):
                    self._later, self._is_reached = functools.partial(late, disk, *arguments), True
                    return None
                result = operation(disk, *arguments, **keywords)
                note(result, *arguments)
                if self._held is None or (self._is_reached and name in ("rename", "keep", "remove")):
                    self._states(self.tree, name)
                if self._later is not None and self._held is not None and self._held.until == name:
                    later, self._later = self._later, None
                    later()
                return result

        def late(disk: Disk, *arguments: Any) -> None:
            # What is closed or has another name by now needs no real sync: it is the record that counts.
            note(operation(disk, *arguments) if name == "rename" else None, *arguments)
            self._states(self.tree, name)

        patch.setattr(Disk, name, recorded)

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
            file.data += data
            file.is_synced = False

    def _truncate(self, _: None, descriptor: int, path: Path) -> None:
        file = self._files.get(descriptor)
        if file is not None:
            file.data, file.is_synced = bytearray(), False

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
            file.synced, file.is_synced = bytes(file.data), True

    def _rename(self, _: None, source: Path, target: Path) -> None:
        node = self.tree.now.get(source)
        if node is not None:
            self.tree.change(Move(source, target, node))

    def _keep(self, kept: bool, path: Path, name: Path) -> None:
        node = self.tree.now.get(path)
        if kept and node is not None and os.path.lexists(path):
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
