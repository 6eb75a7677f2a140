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
#: The user name and password in a URL; `user:password@` without one, but not a tag before a digest; the parameters of
#: a URL, in which signatures are; what an Authorization header has.
_SECRETS = (
    (re.compile(r"(\w+://)[^\s/'\"]*@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(?<![\w./-])([\w.+-]+):[^\s/@'\"]+@(?![a-z0-9+._-]+:[0-9a-fA-F]{32})"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(\w+://[^\s?'\"]+\?)[^\s'\"]+"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(Basic|Bearer)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
)
#: Options that say nothing of the work, or hold what a report has elsewhere.
_LEFT_OUT = frozenset({"environment", "report", "list_name", "sync"})


def plain(text: object) -> str:
    """Return text as JSON can hold it: a byte that is not UTF-8 becomes `\\udcXX`."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def without_secrets(text: object) -> str:
    """Return text of any origin, as JSON can hold it, without what looks like a secret."""
    clean = plain(text)
    for pattern, replacement in _SECRETS:
        clean = pattern.sub(replacement, clean)
    return clean


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
    if isinstance(value, list | tuple):
        return [_public(one) for one in value]
    return without_secrets(value)
