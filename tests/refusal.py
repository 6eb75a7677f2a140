"""The rules of every error that a parser may raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hangar_async.errors import HangarError

#: An error is for a person to read.
_LONGEST = 1500
_T = TypeVar("_T")


def attempt(read: Callable[[], _T], *refusals: type[Exception]) -> _T | None:
    """Return what is read, or None where one of these exceptions is raised, which is one printable, bounded line."""
    try:
        return read()
    except refusals as error:
        check_told(error)
        return None


def check_told(error: Exception) -> None:
    """See that an error is one printable line that is not endless."""
    text = f"{error} {error.advice}" if isinstance(error, HangarError) else str(error)
    assert text
    assert len(text) < _LONGEST, len(text)
    assert text.isprintable(), ascii(text)
