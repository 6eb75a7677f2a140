"""Holdings: saved images, wherever they lie; typing only."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HeldFile:
    """One file of holdings: its name relative to the cache directory, its size in bytes, its content to be read once.

    `pieces` are of about 1 MiB; each is good until the next one is asked for.
    """

    name: str
    size: int
    pieces: Iterator[bytes | memoryview]


class Holdings(Protocol):
    """A cache directory or an archive of one; synchronous, for a thread.

    Names are relative to the cache directory. What is read is not checked yet. All methods raise ArchiveError or
    StorageError.
    """

    def sizes(self) -> Mapping[str, int]:
        """The size in bytes of every regular file, by its name, in stored order."""
        ...

    def documents(self, names: Collection[str], limit: int) -> dict[str, bytes]:
        """Read the small files of these names that are there; one of more than `limit` bytes is left out."""
        ...

    def files(self, names: Collection[str] | None = None) -> Iterator[HeldFile]:
        """Read the files of these names, or all, in stored order."""
        ...
