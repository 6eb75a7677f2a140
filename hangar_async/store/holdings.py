"""A cache directory as holdings: what lies in it, to be read."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from hangar_async.errors import StorageError
from hangar_async.oci.holdings import HeldFile, promised_digest

_PIECE = 1 << 20
#: `share/sha256/<hex>` is the deepest.
_DEPTH = 3


class DirectoryHoldings:
    """The files below a cache directory; links and names that begin with a dot are passed over."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sizes: dict[str, int] | None = None

    def sizes(self) -> Mapping[str, int]:
        """The size in bytes of every regular file, by its name; raises StorageError."""
        if self._sizes is None:
            self._sizes = dict(_walk(self.root, "", _DEPTH))
        return self._sizes

    def files(self, names: Collection[str] | None = None) -> Iterator[HeldFile]:
        """Read the files of these names that are there, or all, in the order of their names."""
        chosen = None if names is None else set(names)
        for name, size in self.sizes().items():
            if chosen is None or name in chosen:
                yield HeldFile(name, size, promised_digest(name), _pieces(self.root / name))


def _walk(root: Path, below: str, depth: int) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(root / below) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_file(follow_symlinks=False):
                yield name, entry.stat(follow_symlinks=False).st_size
            elif entry.is_dir(follow_symlinks=False) and depth > 1:
                yield from _walk(root, name, depth - 1)
    except OSError as error:
        raise StorageError.of(error, root / below, "read") from error


def _pieces(path: Path) -> Iterator[memoryview]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            buffer = memoryview(bytearray(min(_PIECE, max(os.fstat(descriptor).st_size, 1))))
            while count := file.readinto(buffer):
                yield buffer[:count]
    except OSError as error:
        raise StorageError.of(error, path, "read") from error
