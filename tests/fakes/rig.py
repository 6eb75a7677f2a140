"""Helpers of this room's tests."""

from __future__ import annotations

DATA = bytes(range(256)) * 8_000
