"""What a registry says is left of the requests that it allows.

Source: Docker's documentation, "Docker Hub usage and limits"; the IETF draft "RateLimit header fields for HTTP".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

_FIELD = re.compile(r"\s*([0-9]{1,12})\s*(?:;\s*w\s*=\s*([0-9]{1,12})\s*)?(?:;.*)?")


@dataclass(frozen=True, slots=True)
class Quota:
    """`remaining` of `limit` requests are left within a window of so many seconds (0: it is not said)."""

    remaining: int
    limit: int
    window: int

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> Quota | None:
        """Read `ratelimit-limit` and `ratelimit-remaining`; None where either is not there, or nonsense."""
        limit = _FIELD.fullmatch(headers.get("ratelimit-limit", ""))
        remaining = _FIELD.fullmatch(headers.get("ratelimit-remaining", ""))
        if limit is None or remaining is None:
            return None
        return cls(int(remaining[1]), int(limit[1]), int(limit[2] or 0))


#: Is told of a registry, HOST[:PORT], and what it says is left.
Heard: TypeAlias = Callable[[str, Quota], None]
