"""Rules of tags as a job file names them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hangar_async.tags.patterns import Patterns
from hangar_async.tags.rules import TagRules
from hangar_async.tags.version import VersionRange

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def rules_of(
    match: str = "",
    version: str = "",
    variants: str | None = None,
    exclude: str = "",
    days: int = 0,
    also: str = "",
    **others: Any,
) -> TagRules:
    """Make rules; patterns and names are separated by spaces, and "-" is the variant "" of versions without one."""
    plain = None if variants is None else ["" if text == "-" else text for text in variants.split()]
    return TagRules(
        match=Patterns.parse(match.split()) if match else None,
        version=VersionRange.parse(version) if version else None,
        variants=None if plain is None else Patterns.parse(plain, empty=True),
        exclude=Patterns.parse(exclude.split()) if exclude else None,
        newer_than=timedelta(days=days) if days else None,
        also=tuple(also.split()),
        **others,
    )
