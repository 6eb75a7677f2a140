"""Holdings: saved images, wherever they lie; typing only, but for what a name promises."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from hangar_async.errors import InvalidValue
from hangar_async.oci.digest import Digest
from hangar_async.oci.layout import SHARE


@dataclass(frozen=True, slots=True)
class HeldFile:
    """One file of holdings: its name relative to the cache directory, its size in bytes, its content to be read once.

    `digest` is what the content is said to have, None where nothing says so; whoever reads it checks that, and the
    size. `pieces` are of about 1 MiB; each is good until the next one is asked for.
    """

    name: str
    size: int
    digest: Digest | None
    pieces: Iterator[bytes | memoryview]


class Holdings(Protocol):
    """A cache directory or an archive of one; synchronous, for a thread.

    Names are relative to the cache directory. What is read is not checked yet. All methods raise ArchiveError or
    StorageError.
    """

    def sizes(self) -> Mapping[str, int]:
        """The size in bytes of every regular file, by its name, in stored order."""
        ...

    def files(self, names: Collection[str] | None = None) -> Iterator[HeldFile]:
        """Read the files of these names that are there, or all, in stored order."""
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
