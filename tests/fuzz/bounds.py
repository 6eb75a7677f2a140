"""Counts what reading an input costs: memory at its peak, and calls; so that no clock is needed."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

#: Bytes that one input may take at once, as far as Python allocates them.
MEMORY = 32 << 20
#: Functions that may be called for one input, C's too: a loop without end calls some.
CALLS = 1_000_000


class TooMuch(Exception):
    """Raised for an input that takes more calls than any may."""


def within_bounds(target: Callable[[bytes], None], data: bytes) -> None:
    """Run a target on one input; fails where that takes too much memory, or too many calls."""
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")
        if calls > CALLS:
            sys.setprofile(None)
            raise TooMuch(f"more than {CALLS:,} calls")

    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    sys.setprofile(count)
    try:
        target(data)
    finally:
        sys.setprofile(None)
    _, peak = tracemalloc.get_traced_memory()
    assert peak - before < MEMORY, f"{(peak - before) >> 20} MiB"
