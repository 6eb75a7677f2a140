"""Helpers of this room's tests."""

from __future__ import annotations

SECRET = "pass:word"
