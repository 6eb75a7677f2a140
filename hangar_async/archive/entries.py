"""The entries of an archive's index, and many of them packed: about a hundred bytes each instead of a thousand."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, overload

from hangar_async.archive.names import PREFIX
from hangar_async.layout.files import INDEX_NAME, MARKER_NAME, SHARE, named_digest
from hangar_async.oci import Digest

Encoding = Literal["stored", "deflate", "zstd"]
ENCODINGS: tuple[Encoding, ...] = ("stored", "deflate", "zstd")
#: The digest of a file whose own is not known: nothing is compared with it.
_NO_DIGEST = Digest("sha256", "0" * 64)
_SMALLEST = 1 << 6
#: The forms of nearly all names: what stands before and after the 64 digits.
_FORMS = ((f"{PREFIX}{SHARE}/sha256/", ""), (f"{PREFIX}", f"/{INDEX_NAME}"), (f"{PREFIX}", f"/{MARKER_NAME}"))
_HEX = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One regular file of the tar: `length` bytes at `offset` of the compressed stream hold its `size` bytes.

    `pieces` are the starts of its pieces but the first one, counted from `offset`; none where they are not known.
    """

    name: str
    digest: Digest
    size: int
    offset: int
    length: int
    encoding: Encoding
    pieces: tuple[int, ...] = ()

    @classmethod
    def without_index(cls, name: str, size: int, offset: int, length: int, encoding: Encoding) -> Self:
        """Make the entry of a file whose digest only its name may state."""
        return cls(name, named_digest(name) or _NO_DIGEST, size, offset, length, encoding)


def _packed_name(name: str) -> bytes:
    for number, (start, end) in enumerate(_FORMS, 1):
        if len(name) == len(start) + 64 + len(end) and name.startswith(start) and name.endswith(end):
            digits = name[len(start) : len(start) + 64]
            if _HEX.fullmatch(digits):
                return bytes([number]) + bytes.fromhex(digits)
    return b"\0" + name.encode("utf-8", "surrogatepass")


def _unpacked_name(packed: bytes) -> str:
    if not packed[0]:
        return packed[1:].decode("utf-8", "surrogatepass")
    start, end = _FORMS[packed[0] - 1]
    return f"{start}{packed[1:].hex()}{end}"


class PackedEntries(Sequence[ArchiveEntry]):
    """Entries in their order; each is made when it is asked for, and found by its name too."""

    def __init__(self, entries: Iterable[ArchiveEntry] = ()) -> None:
        self._names = bytearray()
        self._ends = array("Q", [0])
        self._digests = bytearray()
        #: Where a digest begins that is not that of the name; 0 for one that is.
        self._starts = array("Q")
        self._sizes = array("Q")
        self._offsets = array("Q")
        self._lengths = array("Q")
        self._encodings = bytearray()
        self._pieces: dict[int, tuple[int, ...]] = {}
        #: The numbers of entries, from 1, at the places of the hashes of their names.
        self._places = array("Q", bytes(8 * _SMALLEST))
        for entry in entries:
            self.append(entry)

    def append(self, entry: ArchiveEntry) -> None:
        """Append an entry, whose name no other one has."""
        number = len(self._sizes)
        self._names += _packed_name(entry.name)
        self._ends.append(len(self._names))
        self._starts.append(0)
        if named_digest(entry.name.removeprefix(PREFIX)) != entry.digest:
            self._starts[number] = len(self._digests) + 1
            raw = bytes.fromhex(entry.digest.hex)
            self._digests += bytes([len(raw)]) + raw
        self._sizes.append(entry.size)
        self._offsets.append(entry.offset)
        self._lengths.append(entry.length)
        self._encodings.append(ENCODINGS.index(entry.encoding))
        if entry.pieces:
            self._pieces[number] = entry.pieces
        self._places[self._place(entry.name)] = number + 1
        if 2 * len(self._sizes) > len(self._places):
            self._grow()

    def find(self, name: str) -> int | None:
        """Return the number of the entry of a name; None for none."""
        number = self._places[self._place(name)]
        return number - 1 if number else None

    def name(self, number: int) -> str:
        """Return the name of an entry."""
        return _unpacked_name(self._name(number))

    def size(self, number: int) -> int:
        """Return the size of the content of an entry."""
        return self._sizes[number]

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> ArchiveEntry: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[ArchiveEntry, ...]: ...

    def __getitem__(self, index: int | slice) -> ArchiveEntry | tuple[ArchiveEntry, ...]:
        if isinstance(index, slice):
            return tuple(self._entry(number) for number in range(*index.indices(len(self))))
        return self._entry(range(len(self))[index])

    def __iter__(self) -> Iterator[ArchiveEntry]:
        return map(self._entry, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PackedEntries | tuple) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def _entry(self, number: int) -> ArchiveEntry:
        name = self.name(number)
        return ArchiveEntry(
            name,
            self._digest(number, name),
            self._sizes[number],
            self._offsets[number],
            self._lengths[number],
            ENCODINGS[self._encodings[number]],
            self._pieces.get(number, ()),
        )

    def _digest(self, number: int, name: str) -> Digest:
        start = self._starts[number]
        if not start:
            named = named_digest(name.removeprefix(PREFIX))
            assert named is not None  # noqa: S101 - it has its digest from there
            return named
        size = self._digests[start - 1]
        return Digest("sha256" if size == 32 else "sha512", self._digests[start : start + size].hex())

    def _name(self, number: int) -> bytes:
        return bytes(self._names[self._ends[number] : self._ends[number + 1]])

    def _place(self, name: str) -> int:
        """Return the place of a name, or the empty one where it belongs."""
        return self._place_of(_packed_name(name))

    def _place_of(self, packed: bytes) -> int:
        mask = len(self._places) - 1
        place = hash(packed) & mask
        while (number := self._places[place]) and self._name(number - 1) != packed:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        self._places = array("Q", bytes(16 * len(self._places)))
        for number in range(len(self)):
            self._places[self._place_of(self._name(number))] = number + 1


class EntriesByName(Mapping[str, ArchiveEntry]):
    """The entries of an index by their names."""

    def __init__(self, entries: PackedEntries) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> ArchiveEntry:
        number = self._entries.find(name)
        if number is None:
            raise KeyError(name)
        return self._entries[number]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._entries.find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return map(self._entries.name, range(len(self._entries)))

    def __len__(self) -> int:
        return len(self._entries)

    def size(self, name: str) -> int | None:
        """Return the size of a file; None for none."""
        number = self._entries.find(name)
        return None if number is None else self._entries.size(number)


class Sizes(Mapping[str, int]):
    """The sizes of files by their names in the layout, out of the entries by their names in the archive."""

    def __init__(self, entries: Mapping[str, ArchiveEntry]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> int:
        if not isinstance(self._entries, EntriesByName):
            return self._entries[f"{PREFIX}{name}"].size
        if (size := self._entries.size(f"{PREFIX}{name}")) is None:
            raise KeyError(name)
        return size

    def __contains__(self, name: object) -> bool:
        return f"{PREFIX}{name}" in self._entries

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(PREFIX) for name in self._entries)

    def __len__(self) -> int:
        return len(self._entries)
