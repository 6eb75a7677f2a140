"""Helpers of this room's tests."""

from __future__ import annotations

from tests.archive.samples import (
    MIB,
    noise,
    text,
)

LAYOUT_BLOBS = (b"one", b"", noise(70_000), text(3_000_000), noise(2_500_000, 1))
DATA = noise(1000)
#: Content that compresses, of several pieces.
PIECEWISE = text(4 * MIB + 12_345)
