"""Ranges: which bytes of a blob a partial answer holds, and which a registry has of an upload.

Sources: RFC 9110, section 14.4; OCI distribution-spec, "Pushing a blob in chunks".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CONTENT_RANGE = re.compile(r"bytes[ \t]+([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.IGNORECASE)
_RECEIVED = re.compile(r"(?:bytes[ =])?[ \t]*0-([0-9]{1,19})", re.IGNORECASE)


def received(text: str) -> int | None:
    """Read the Range of an upload, `0-LAST`, as how many bytes are there; None where it does not say so for certain.

    `0-0` says nothing: registries write it for one byte and for none.
    """
    match = _RECEIVED.fullmatch(text.strip())
    return int(match[1]) + 1 if match and int(match[1]) else None


@dataclass(frozen=True, slots=True)
class ContentRange:
    """The bytes from `first` to `last`, both held, of `total` (None where the server doesn't say)."""

    first: int
    last: int
    total: int | None

    @classmethod
    def parse(cls, text: str) -> ContentRange | None:
        """Read the value of a Content-Range header; None for what is none, or cannot be."""
        match = _CONTENT_RANGE.fullmatch(text.strip())
        if not match:
            return None
        first, last = int(match[1]), int(match[2])
        total = None if match[3] == "*" else int(match[3])
        return cls(first, last, total) if first <= last and (total is None or last < total) else None

    def is_rest(self, start: int, size: int) -> bool:
        """Whether this is all of a blob of `size` bytes from `start` on."""
        return self.first == start and self.last == size - 1 and self.total in (None, size)
