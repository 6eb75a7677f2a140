"""Holdings: saved images, wherever they lie; typing only, but for what a name promises."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from hangar_async.errors import InvalidValue
from hangar_async.layout.files import SHARE
from hangar_async.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class LayoutFile:
    """One file of holdings: its name relative to the cache directory, its size in bytes, its content to be read once.

    `digest` is what the content is said to have, None where nothing says so; whoever reads it checks that, and the
    size. `pieces` are of about 1 MiB; each is good until the next one is asked for.
    """

    name: str
    size: int
    digest: Digest | None
    pieces: Iterator[bytes | memoryview]


class Layout(Protocol):
    """A cache directory or an archive of one; synchronous, for a thread.

    Names are relative to the cache directory. What is read is not checked yet. All methods raise ArchiveError or
    StorageError.
    """

    def sizes(self) -> Mapping[str, int]:
        """The size in bytes of every regular file, by its name, in stored order."""
        ...

    def files(self, names: Collection[str] | None = None) -> Iterator[LayoutFile]:
        """Read the files of these names that are there, or all, in stored order."""
        ...


class Reader(Protocol):
    """The content of one file from some byte on, for one thread at a time; whoever opened it closes it.

    All methods raise ArchiveError or StorageError.
    """

    #: Equal for two readers of one file that has not changed in between.
    identity: Hashable

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer, or a part of it; 0 at the end."""
        ...

    def check(self) -> None:
        """Raise ArchiveError or StorageError where the file on the disk is no longer the one that was opened."""
        ...

    def close(self) -> None:
        """Close the file; may be called again."""
        ...


class SeekableLayout(Layout, Protocol):
    """Holdings any file of which can be read by itself, from any byte on; any number of threads may do so.

    Those of an archive without index have no `open`, which is how they are told apart.
    """

    def open(self, name: str, start: int = 0) -> Reader:
        """Read the file of this name, which `sizes` has, from byte `start` on; raises ArchiveError, StorageError."""
        ...


def promised_digest(name: str) -> Digest | None:
    """The digest that a file's name promises; None for a file that is no blob."""
    place, _, rest = name.partition("/")
    if place != SHARE:
        return None
    try:
        return Digest.parse(rest.replace("/", ":", 1))
    except InvalidValue:
        return None
