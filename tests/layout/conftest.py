"""Fixtures of this room."""

from tests.engine.forms import everything, partial

__all__ = ["everything", "partial"]
