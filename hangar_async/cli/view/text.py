"""Numbers and foreign text as a person reads them."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable

from hangar_async.errors import HangarError

PROGRAM = "hangar-async"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(size: int) -> str:
    """Write a number of bytes in the powers of 1024 that the flags mean by K, M and G: `1.5 GiB`."""
    amount, unit = float(size), 0
    while unit < len(_UNITS) - 1 and round(amount, 1) >= 1024:
        amount, unit = amount / 1024, unit + 1
    return f"{size} B" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def flag_size(size: int) -> str:
    """Write a number of bytes as a flag takes it, without rounding: `2G`."""
    for unit, power in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size % power == 0:
            return f"{size // power}{unit}"
    return str(size)


def duration_text(seconds: float) -> str:
    """Write a length of time: `4.2 s`, `3 min 07 s`, `2 h 05 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def clock_text(seconds: float) -> str:
    """Write a time to wait as a clock does, rounded up: `0:01:23`."""
    whole = math.ceil(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def count_text(number: int, noun: str) -> str:
    """Write `1 image`, `2 images`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def one_line(text: str) -> str:
    """Make text of any origin harmless on a terminal: one line of printable characters."""
    return printable(re.sub(r"\s+", " ", text).strip())


def printable(text: str) -> str:
    """Make characters visible that would move the cursor, change colours or reorder what is shown."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def error_text(error: HangarError) -> str:
    """Write an error and what to do about it, as one line."""
    return one_line(f"{error}; {error.advice}" if error.advice else str(error))


def command_text(words: Iterable[str]) -> str:
    """Write a command that can be pasted into a shell."""
    return shlex.join(words)
