"""The protocols of a layout: the files of saved images, in a directory or in an archive."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from hangar_async.errors import InvalidValue
from hangar_async.layout.files import SHARE
from hangar_async.oci.digest import Digest
from hangar_async.oci.integrity import Pieces, Reader


@dataclass(frozen=True, slots=True)
class LayoutFile:
    """One file of a layout: its name relative to the cache directory, its size in bytes, its content to be read once.

    `digest` is the expected digest, None where nothing names one. The reader of `pieces`, of about 1 MiB, checks digest
    and size.
    """

    name: str
    size: int
    digest: Digest | None
    pieces: Pieces


class Layout(Protocol):
    """The files of a cache or of an OCI image layout; synchronous, for a thread.

    Names are relative to the cache directory. Nothing that is read is checked yet. All methods raise ArchiveError or
    StorageError.
    """

    def sizes(self) -> Mapping[str, int]:
        """The size in bytes of every regular file, by its name, in stored order."""
        ...

    def files(self, names: Collection[str] | None = None) -> Iterator[LayoutFile]:
        """Read the files of these names that exist, or all, in stored order."""
        ...


class LayoutReader(Reader, Protocol):
    """The content of one file from a byte on, for one thread at a time; the caller that opened it closes it.

    All methods raise ArchiveError or StorageError.
    """

    #: Equal for two readers of one file that has not changed in between.
    identity: Hashable

    def check(self) -> None:
        """Raise ArchiveError or StorageError where the file on the disk is no longer the one that was opened."""
        ...

    def close(self) -> None:
        """Close the file; may be called again."""
        ...


class SeekableLayout(Layout, Protocol):
    """A layout that can open any of its files at any byte, in any number of threads.

    An archive without index has no `open`.
    """

    def open(self, name: str, start: int = 0) -> LayoutReader:
        """Open the file of this name, which `sizes` has, at byte `start`."""
        ...


def named_digest(name: str) -> Digest | None:
    """Return the digest that the name of a blob states; None for a file that is no blob."""
    folder, _, rest = name.partition("/")
    if folder != SHARE:
        return None
    try:
        return Digest.parse(rest.replace("/", ":", 1))
    except InvalidValue:
        return None
