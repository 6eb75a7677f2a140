"""Fixtures of this room."""

from tests.engine.forms import everything, partial
from tests.engine.served import client, site

__all__ = ["client", "everything", "partial", "site"]
