"""Sizes and durations as people write them."""

from __future__ import annotations

import re

from hangar_async.errors import InvalidValue

_SIZE = re.compile(r"([0-9]{1,15})([kmgKMG]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhSMH]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def parse_size(text: str) -> int:
    """Read a size in bytes: a number, or one with K, M or G (powers of 1024); raises InvalidValue."""
    match = _SIZE.fullmatch(text.strip())
    if not match or int(match[1]) == 0:
        raise InvalidValue(
            f"{text[:100]!r} is not a size: write a number of bytes above 0, or one with K, M or G, such as 2G"
        )
    return int(match[1]) * _UNITS[match[2].lower()]


def parse_duration(text: str) -> float:
    """Read a length of time in seconds: a number, or one with s, m or h; raises InvalidValue."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise InvalidValue(f"{text!r} is not a length of time: write seconds, or a number with s, m or h, such as 15m")
    return float(match[1]) * _SECONDS[match[2].lower()]
