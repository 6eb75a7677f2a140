"""Sets and maps whose memory does not grow with what they have seen, or by little."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")
#: Names that are kept as they are: a set of strings is faster, and so many take little memory.
_MOST_PLAIN = 4096
#: The bytes of a word, and the words of a name.
_WORD, _WORDS = 8, 2
_EMPTY = (0, 0)


class Recent(OrderedDict[_K, _V]):
    """A map that keeps the values that were set last, `most` of them."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: _K, value: _V) -> None:
        super().__setitem__(key, value)
        if len(self) > self._most:
            self.popitem(last=False)


class PackedNames:
    """A set of names, which needs 24 to 48 bytes for each of many.

    Of more than a few thousand names it keeps 128 bits of a hash with a secret key.
    Without the key nobody can choose two names of one hash, and chance makes none among the names of a run.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._plain: set[str] | None = set()
        self._key = b""
        self._words = array("Q")
        self._most = 0
        self._count = 0
        for name in names:
            self.add(name)

    def __len__(self) -> int:
        return self._count if self._plain is None else len(self._plain)

    def __contains__(self, name: str) -> bool:
        if self._plain is not None:
            return name in self._plain
        return self._words[self._place(*self._hash(name))] != 0

    def add(self, name: str) -> bool:
        """Add a name; tell whether it is new."""
        if self._plain is not None:
            if name in self._plain:
                return False
            self._plain.add(name)
            if len(self._plain) > _MOST_PLAIN:
                self._pack(self._plain)
            return True
        first, second = self._hash(name)
        place = self._place(first, second)
        if self._words[place]:
            return False
        self._words[place], self._words[place + 1] = first, second
        self._count += 1
        if self._count > self._most:
            self._grow()
        return True

    def _pack(self, plain: Iterable[str]) -> None:
        self._plain, self._key = None, os.urandom(16)
        self._most = _MOST_PLAIN * 4 // 3
        self._words = array("Q", bytes(_WORD * _WORDS * _MOST_PLAIN * 2))
        for name in plain:
            self.add(name)

    def _hash(self, name: str) -> tuple[int, int]:
        data = name.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(data, digest_size=_WORD * _WORDS, key=self._key).digest()
        # No first word is that of an empty place.
        return int.from_bytes(digest[:_WORD], "little") | 1, int.from_bytes(digest[_WORD:], "little")

    def _place(self, first: int, second: int) -> int:
        """Return the place of a hash, or the empty one where it belongs."""
        words, mask = self._words, len(self._words) - 1
        place = second * _WORDS & mask
        while (words[place], words[place + 1]) not in ((first, second), _EMPTY):
            place = place + _WORDS & mask
        return place

    def _grow(self) -> None:
        earlier = self._words
        self._words = array("Q", bytes(2 * _WORD * len(earlier)))
        self._most *= 2
        for at in range(0, len(earlier), _WORDS):
            if earlier[at]:
                place = self._place(earlier[at], earlier[at + 1])
                self._words[place], self._words[place + 1] = earlier[at], earlier[at + 1]
