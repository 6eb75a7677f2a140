"""Fixtures of this directory."""

from tests.engine.served import site

__all__ = ["site"]
