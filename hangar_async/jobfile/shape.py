"""The shape of a file, as types have it: keys and types, each fault with its place and the nearest right key."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, NoReturn

from msgspec import inspect

from hangar_async.jobfile.document import Node, Place

#: The least likeness of a wrong key to one that is meant.
_LIKE = 0.55


def check_shape(node: Node, kind: type) -> None:
    """Check a value against a type of msgspec; raises UsageError that names the place."""
    _check(node, inspect.type_info(kind), "the file")


def _check(node: Node, kind: inspect.Type, field: str) -> None:
    if isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        kind = _member(node, kind, field)
    if isinstance(kind, inspect.StructType):
        _check_fields(node, kind, field)
    elif isinstance(kind, inspect.DictType):
        _require(isinstance(node.value, dict), node, kind, field)
        for value in node.fields.values():
            _check(value, kind.value_type, field)
    elif isinstance(kind, inspect.ListType):
        _require(isinstance(node.value, list), node, kind, field)
        for value in node.items:
            _check(value, kind.item_type, field)
    else:
        _require(_is_a(node, kind), node, kind, field)


def _check_fields(node: Node, kind: inspect.StructType, field: str) -> None:
    _require(isinstance(node.value, dict), node, kind, field)
    known = {one.encode_name: one for one in kind.fields}
    for key, value in node.fields.items():
        if key not in known:
            _refuse_key(node.keys[key], key, list(known), field)
        _check(value, known[key].type, f"`{key}`")
    missing = [name for name, one in known.items() if one.required and name not in node.fields]
    if missing:
        node.place.refuse(f"{field} has no `{missing[0]}`")


def _refuse_key(place: Place, key: str, known: list[str], field: str) -> NoReturn:
    nearest = get_close_matches(key.lower().replace("_", "-"), known, 1, _LIKE)
    right = f"write `{nearest[0]}`" if nearest else f"it has {', '.join(sorted(known))}"
    place.refuse(f"`{key}` is no field of {field}: {right}")


def _member(node: Node, kind: inspect.UnionType, field: str) -> inspect.Type:
    """Return the member of a union that a value is one of, or may be meant to be."""
    for member in kind.types:
        bare = member.type if isinstance(member, inspect.Metadata) else member
        if _is_a(node, bare):
            return bare
    return _refuse(node, _words(kind), field)


def _is_a(node: Node, kind: inspect.Type) -> bool:
    value: Any = node.value
    match kind:
        case inspect.StructType() | inspect.DictType():
            return isinstance(value, dict)
        case inspect.ListType():
            return isinstance(value, list)
        case inspect.LiteralType():
            return not isinstance(value, bool) and value in kind.values
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            least = kind.ge if kind.ge is not None else value
            return isinstance(value, int) and not isinstance(value, bool) and value >= least
    return isinstance(value, str)


def _require(holds: bool, node: Node, kind: inspect.Type, field: str) -> None:
    if not holds:
        _refuse(node, _words(kind), field)


def _refuse(node: Node, wanted: str, field: str) -> NoReturn:
    if isinstance(node.value, int | float) and "text" in wanted:
        kind = "word" if isinstance(node.value, bool) else "number"
        node.refuse(f'{field} has {node.written}, which is read as a {kind}: write it in quotes, "{node.written}"')
    if node.value is None:
        node.refuse(f"{field} is empty: write {wanted}, or leave it out")
    if isinstance(node.value, str) and node.value == wanted:
        node.refuse(f"{field} is the text {node.written!r}: write {wanted} without quotes")
    found = "a mapping" if isinstance(node.value, dict) else "a list" if isinstance(node.value, list) else node.written
    node.refuse(f"{field} is {found}: write {wanted}")


def _words(kind: inspect.Type) -> str:
    """Name the values of a type."""
    match kind:
        case inspect.Metadata():
            return _words(kind.type)
        case inspect.UnionType():
            return " or ".join(map(_words, kind.types))
        case inspect.StructType():
            return "a mapping of " + ", ".join(one.encode_name for one in kind.fields)
        case inspect.DictType():
            return "a mapping"
        case inspect.ListType():
            return f"a list, each {_words(kind.item_type)}"
        case inspect.LiteralType():
            return " or ".join(map(str, kind.values))
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number from {kind.ge} on" if kind.ge is not None else "a whole number"
    return "a text"
