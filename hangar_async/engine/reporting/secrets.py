"""Texts and options without secrets."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hangar_async.config.target_options import LoadOptions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

HIDDEN = "***"
_URL = re.compile(r"(?<!\w)(\w+://)([^\s'\"]*)")
_WORD = re.compile(r"[^\s/'\"]+")
_DIGEST = re.compile("[a-z0-9+._-]+:[0-9a-fA-F]{32}")
#: The value of an Authorization header.
_HEADER = re.compile(r"\b(Basic|Bearer)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
#: Options that say nothing of the work, or hold what a report has elsewhere.
_LEFT_OUT = frozenset({"environment", "report", "list_name", "sync"})


def plain(text: object) -> str:
    """Return text as JSON can hold it: a byte that is not UTF-8 becomes `\\udcXX`."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def without_secrets(text: object) -> str:
    """Return text of any origin, as JSON can hold it, without what looks like a secret.

    These are the user part and the parameters of a URL, `user:password@`, and the value of an Authorization header.
    """
    clean = plain(text)
    if "://" in clean:
        clean = _URL.sub(_clean_url, clean)
    if "@" in clean:
        clean = _WORD.sub(_clean_word, clean)
    return _HEADER.sub(rf"\1 {HIDDEN}", clean)


def _clean_url(url: re.Match[str]) -> str:
    place, mark, parameters = url[2].partition("?")
    before, _, after = place.rpartition("@")
    if before and not _DIGEST.match(after):
        place = f"{HIDDEN}@{after}"
    return f"{url[1]}{place}{mark}{HIDDEN if parameters else ''}"


def _clean_word(word: re.Match[str]) -> str:
    name, _, rest = word[0].partition(":")
    password, _, after = rest.rpartition("@")
    # A tag and a digest are no secrets.
    return f"{name}:{HIDDEN}@{after}" if password and not _DIGEST.match(after) else word[0]


def public_options(options: DataclassInstance) -> dict[str, Any]:
    """Return the options of a verb for a report: those of the environment are left out but for how hosts are asked."""
    # An option that is not shown by repr is a secret.
    names = [one.name for one in fields(options) if one.repr and one.name not in _LEFT_OUT]
    values = {name: getattr(options, name) for name in names}
    if (name := getattr(options, "list_name", None)) is not None and not isinstance(values["images"], Path):
        # The lines are in the records of the images.
        values["images"] = name or "image list"
    found = {name: _public(value) for name, value in values.items()}
    if (environment := getattr(options, "environment", None)) is not None:
        settings = environment.destinations if isinstance(options, LoadOptions) else environment.registries
        found |= {
            "tls_verify": settings.tls_verify,
            "retries": settings.retry.retries,
            "max_wait": settings.retry.max_wait,
            "stall_timeout": settings.stall_timeout,
            "limit_rate": settings.limit_rate,
            "source_registry": _public(environment.source_registry),
            "destination_registry": _public(environment.destination_registry),
        }
    return found


def _public(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if callable(value):
        # A function that takes a document: standard output.
        return "-"
    if isinstance(value, list | tuple):
        return [_public(one) for one in value]
    return without_secrets(value)
