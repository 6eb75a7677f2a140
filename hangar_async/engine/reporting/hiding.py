"""Reports and events without the values of variables of a job file, which may be secrets."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias, TypeVar, cast

import msgspec

from hangar_async.engine.events import Event, Observer
from hangar_async.errors import HangarError, copied
from hangar_async.oci import Digest, Image, Reference

_T = TypeVar("_T")
#: Returns a text with `${NAME}` in place of each value.
Hide: TypeAlias = Callable[[str], str]
#: Fields whose values are words of the program itself.
_WORDS = frozenset({"state", "kind", "status", "end", "event", "command", "program", "started", "time", "version"})
_DIGEST = re.compile(r"sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})")
#: Types of values without a text of another origin.
_PLAIN = frozenset({Digest, bool, int, float, bytes, type(None)})


class ShownReference(Reference):
    """A name as people see it: `${NAME}` may stand in any part of it. It is for no request."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Take the parts as they are."""

    @property
    def name(self) -> str:
        """`REGISTRY/REPOSITORY`, or the one variable that stands for both."""
        return f"{self.registry}/{self.repository}" if self.repository else self.registry


def shown(value: _T, hide: Hide) -> _T:
    """Return a value of a report, or an event, with all of its texts hidden; the same one where nothing is hidden."""
    return cast("_T", _shown(value, hide))


def _shown(value: Any, hide: Hide) -> Any:
    kind: Any = type(value)
    if kind is str:
        # A digest is no secret, and a short value may stand in it by chance.
        return value if _DIGEST.fullmatch(value) else hide(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, Reference):
        return _reference(value, hide)
    if isinstance(value, Image):
        # Its documents are those of a registry.
        reference = _reference(value.reference, hide)
        return value if reference is value.reference else dataclasses.replace(value, reference=reference)
    if isinstance(value, HangarError):
        return _error(value, hide)
    if isinstance(value, tuple | list | frozenset | set):
        found = [_shown(one, hide) for one in value]
        return value if all(new is old for new, old in zip(found, value, strict=True)) else kind(found)
    if isinstance(value, Mapping):
        return {_shown(key, hide): _shown(one, hide) for key, one in value.items()}
    changes = {}
    for name in _fields(kind):
        new = _shown(old := getattr(value, name), hide)
        if new is not old:
            changes[name] = new
    if not changes:
        return value
    return (msgspec.structs.replace if isinstance(value, msgspec.Struct) else dataclasses.replace)(value, **changes)


@cache
def _fields(kind: Any) -> tuple[str, ...]:
    """Return the fields of a type that may hold texts of another origin; none of other types."""
    if issubclass(kind, msgspec.Struct):
        names = list(kind.__struct_fields__)
    else:
        is_value = dataclasses.is_dataclass(kind)
        names = [one.name for one in dataclasses.fields(kind) if one.init] if is_value else []
    return tuple(name for name in names if name not in _WORDS)


def _reference(image: Reference, hide: Hide) -> Reference:
    name, tag = hide(image.name), None if image.tag is None else hide(image.tag)
    if name == image.name and tag == image.tag:
        return image
    registry, _, repository = name.partition("/")
    return ShownReference(registry, repository, tag, image.digest)


def _error(error: HangarError, hide: Hide) -> HangarError:
    shown_error = copied(error)
    shown_error.args = tuple(hide(str(one)) for one in error.args)
    for name, value in vars(error).items():
        if not name.startswith("_"):
            setattr(shown_error, name, _shown(value, hide))
    shown_error.__cause__, shown_error.__suppress_context__ = None, True
    return shown_error


def hiding(observe: Observer, hide: Hide) -> Observer:
    """Return an observer of the same events, as they are shown."""

    def observe_shown(event: Event) -> None:
        observe(shown(event, hide))

    return observe_shown


@contextmanager
def shown_errors(hide: Hide) -> Iterator[None]:
    """Make the errors of this package that the block raises ones that hide values."""
    try:
        yield
    except HangarError as error:
        if hide(f"{error}\n{error.advice}") == f"{error}\n{error.advice}":
            raise
        raise _error(error, hide) from None
