"""Digests of content."""

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol, Self

from hangar_async.errors import InvalidValue

#: Registered algorithms and the number of hexadecimal characters of each (image-spec, descriptor.md, "Digests").
ALGORITHMS = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[a-f0-9]+")


class Hasher(Protocol):
    """A running hash, as hashlib makes them."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Hash more bytes."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far, in hexadecimal."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A content digest; validated when made, so that it is safe in a path or a URL.

    Source: OCI image-spec, descriptor.md, section "Digests".
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        size = ALGORITHMS.get(self.algorithm)
        if size is None or len(self.hex) != size or not _HEX.fullmatch(self.hex):
            shown = f"{self.algorithm}:{self.hex}"[:160]
            raise InvalidValue(
                f"{shown!r} is not a digest: write sha256: and 64, or sha512: and 128, of the characters 0-9 a-f"
            )

    def __hash__(self) -> int:
        """Hash the characters alone, whose hash Python keeps: digests are the keys of most that a run knows."""
        return hash(self.hex)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `ALGORITHM:HEX`; raises InvalidValue."""
        algorithm, _, encoded = text.partition(":")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """Compute the digest of `data`."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def hasher(self) -> Hasher:
        """Start a hash of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    @property
    def short(self) -> str:
        """The first 12 hexadecimal characters, for people."""
        return self.hex[:12]

    @property
    def tag(self) -> str:
        """The tag that stands for it where only tags are possible: its first 64 hexadecimal characters.

        Source: OCI distribution-spec, "Referrers Tag Schema".
        """
        return f"{self.algorithm}-{self.hex[:64]}"

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
