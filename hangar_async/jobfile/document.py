"""YAML 1.2 or JSON to a tree whose values know their place in the file, with variables in place of `${NAME}`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

from hangar_async.errors import InvalidValue, UsageError
from hangar_async.filesystem import read_bounded

_T = TypeVar("_T")
#: The flags of the command line in messages of values that a file has under their names.
_FLAG = re.compile(r"^--")
#: The most bytes of a job file, and the most values in it.
_LARGEST = 4 << 20
_MOST_VALUES = 100_000
#: Signs of which each value, but for those of aliases, has at least one.
_SIGNS = re.compile(r"[,\[{\n]|[-:?]\s")
_VARIABLE = re.compile(r"\$(\$)?\{(?:([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)([^}]*))?\})?")
_YAML = "tag:yaml.org,2002:"
_BOOLEANS = {"true": True, "false": False}
#: Kinds that are texts in YAML 1.2.
_TEXTS = ("str", "timestamp", "merge", "value")
#: The characters of a message: a value of the file may stand in it.
_LONGEST = 1000
_SCALARS = (*_TEXTS, "bool", "null", "int", "float")


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file; lines and columns begin at 1."""

    name: str
    line: int
    column: int

    def refuse(self, text: str, cause: Exception | None = None) -> NoReturn:
        """Raise UsageError that names the place, in one line of printable characters."""
        words = " ".join(text.split())
        told = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in words)
        raise UsageError(f"{self}: {told if len(told) <= _LONGEST else f'{told[:_LONGEST]} ...'}") from cause

    def __str__(self) -> str:
        return f"{self.name}:{self.line}:{self.column}"


Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a file, and its place.

    `written` is the text of a scalar in the file. `hidden` are the values of variables in it, each with the text that
    messages have for it.
    """

    value: Scalar | list[Node] | dict[str, Node]
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)
    written: str = ""
    hidden: tuple[tuple[str, str], ...] = ()

    @property
    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain for key, node in self.value.items()}
        return [node.plain for node in self.value] if isinstance(self.value, list) else self.value

    @property
    def fields(self) -> dict[str, Node]:
        """The values of a mapping, by their keys; none of any other value."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The values of a list; a single value is a list of one."""
        return self.value if isinstance(self.value, list) else [self]

    @property
    def has_variables(self) -> bool:
        """True when a variable stands in it."""
        below = self.value.values() if isinstance(self.value, dict) else self.value
        return bool(self.hidden) or (not isinstance(below, Scalar) and any(node.has_variables for node in below))

    def refuse(self, text: object, cause: Exception | None = None) -> NoReturn:
        """Raise UsageError that names the place; values of variables are hidden in the text."""
        message = str(text)
        for value, name in self.hidden:
            message = message.replace(value, name) if value else message
        self.place.refuse(message, cause)

    def over(self, other: Node | None) -> Node:
        """Return this value laid over another one: mappings are merged field by field."""
        if other is None or not (isinstance(self.value, dict) and isinstance(other.value, dict)):
            return self
        merged = {**other.value, **{key: node.over(other.value.get(key)) for key, node in self.value.items()}}
        return Node(merged, self.place, {**other.keys, **self.keys})


@contextmanager
def at(node: Node, name: str = "") -> Iterator[None]:
    """Make an error of a value name its place, and its field where it has a name, unless it names one already."""
    try:
        yield
    except (InvalidValue, UsageError) as error:
        if str(error).startswith(f"{node.place.name}:"):
            raise
        text = _FLAG.sub("", str(error))
        node.refuse(f"`{name}`: {text}" if name and not text.startswith((name, f"`{name}`")) else text, error)


def parsed(fields: Mapping[str, Node], name: str, parse: Callable[[Node], _T]) -> _T | None:
    """Return what a field is parsed to, None without it; raises UsageError that names its place."""
    if (node := fields.get(name)) is None:
        return None
    with at(node, name):
        return parse(node)


def read_document(path: Path, environ: Mapping[str, str]) -> Node:
    """Read a file; raises UsageError."""
    try:
        content = read_bounded(path, _LARGEST)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read the job file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read the job file {path}: it is not UTF-8") from error
    except ValueError as error:
        raise UsageError(f"cannot read the job file {path}: {error}") from error
    return parse_document(text, str(path), environ)


def parse_document(text: str, name: str, environ: Mapping[str, str]) -> Node:
    """Read a text; raises UsageError that names the place."""
    # The decoder takes a tenth of a millisecond and a kilobyte for each value, before any can be counted.
    if next(islice(_SIGNS.finditer(text), _MOST_VALUES, None), None) is not None:
        raise UsageError(f"{name}: the file has more than {_MOST_VALUES:,} values")
    # Most runs have no job file.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        yaml = YAML(typ="safe", pure=True)
        yaml.composer.warn_double_anchors = False
        root = yaml.compose(text)
        if root is None:
            Place(name, 1, 1).refuse("it is empty: write `version: 1` and `jobs`")
        return _Reader(name, environ).node(root)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name, 1, 1)
        place.refuse(f"it is no YAML: {error.problem or error.context}", error)
    except YAMLError as error:
        Place(name, 1, 1).refuse(f"it is no YAML: {error}", error)
    except RecursionError as error:
        raise UsageError(f"{name}: it is nested too deep") from error


class _Reader:
    """Makes values of the nodes of a YAML document."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self._name = name
        self._environ = environ
        self._count = 0

    def node(self, node: Any) -> Node:
        """Read a node; raises UsageError."""
        place = Place(self._name, node.start_mark.line + 1, node.start_mark.column + 1)
        self._count += 1
        if self._count > _MOST_VALUES:
            place.refuse(f"the file has more than {_MOST_VALUES:,} values")
        kind = str(node.tag).removeprefix(_YAML)
        if kind == "map" and isinstance(node.value, list):
            return self._mapping(node, place)
        if kind == "seq" and isinstance(node.value, list):
            return Node([self.node(item) for item in node.value], place)
        if isinstance(node.value, str) and kind in _SCALARS:
            return self._scalar(kind, node.value, place)
        return place.refuse(f"{node.tag} is no kind of value here")

    def _mapping(self, node: Any, place: Place) -> Node:
        fields: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        for key, value in node.value:
            if not isinstance(key.value, str):
                place.refuse("a key is no word")
            at = Place(self._name, key.start_mark.line + 1, key.start_mark.column + 1)
            if key.value in fields:
                at.refuse(f"`{key.value}` stands here twice; the first one is in line {keys[key.value].line}")
            keys[key.value] = at
            fields[key.value] = self.node(value)
        return Node(fields, place, keys)

    def _scalar(self, kind: str, text: str, place: Place) -> Node:
        if kind in _TEXTS:
            return self._text(text, place)
        if kind == "bool":
            return Node(_BOOLEANS[text.lower()], place, written=text)
        if kind == "null":
            return Node(None, place, written=text)
        try:
            return Node(int(text) if kind == "int" else float(text), place, written=text)
        except ValueError:
            place.refuse(f"{text!r} is no value: write it in quotes")

    def _text(self, text: str, place: Place) -> Node:
        hidden: list[tuple[str, str]] = []

        def value(match: re.Match[str]) -> str:
            if match[1]:
                return match[0][1:]
            found = self._variable(match, place)
            hidden.append((found, f"${{{match[2]}}}"))
            return found

        return Node(_VARIABLE.sub(value, text), place, written=text, hidden=tuple(hidden))

    def _variable(self, match: re.Match[str], place: Place) -> str:
        name, operator, rest = match[2], match[3], match[4]
        if name is None:
            place.refuse("`${` begins a variable: write ${NAME}, ${NAME:-text}, ${NAME:?text}, or $${ for the text")
        # As in a shell, `:-` and `:?` take an empty value for none.
        found = self._environ.get(name)
        if operator and not found:
            return rest if operator == ":-" else place.refuse(f"${{{name}}} is not set: {rest or 'it is required'}")
        return found if found is not None else place.refuse(f"${{{name}}} is not set in the environment")
