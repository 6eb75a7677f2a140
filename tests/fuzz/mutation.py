"""Changes that leave a JSON document JSON, and a tar a tar: what is changed at random is seldom read any further."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

_DIGEST = "sha256:" + "c3" * 32
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2, 1 << 62, 1 << 63, 10**400, 0.5, 1e308, "", "\0", "\n", "\u202e", "a" * 300, [], {}, [[]],
    _DIGEST, "sha512:" + "d4" * 64, "f" * 64, "docker.io/library/nginx", "a/b:c", "v1.1.0", "unknown", "share", "amd64",
    {"os": "linux", "architecture": "arm", "variant": "v7"}, {"digest": _DIGEST, "size": 3},
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
)  # fmt: skip
#: Where a value stands: what holds it, and its key there.
_Place = tuple[Any, Any]


#: Changes bytes at random, to at most so many.
Mutate = Callable[[bytes, int], bytes]
_BLOCK = 512
_MAGIC = slice(257, 262)
_CHECKSUM = slice(148, 156)
#: Fields of a tar's header, and what to put there: type, size, name, prefix, magic.
_FIELDS: tuple[tuple[slice, tuple[bytes, ...]], ...] = (
    (slice(156, 157), tuple(bytes([kind]) for kind in b"\x000123567LKxgSA")),
    (
        slice(124, 136),
        (b"%011o\0" % 0, b"%011o\0" % 2, b"%011o\0" % 512, b"%011o\0" % 8**10, b"\x80" + bytes(9) + b"\2\0"),
    ),
    (slice(0, 100), (b"saved-image-cache/index.json".ljust(100, b"\0"), b"saved-image-cache".ljust(100, b"\0"))),
    (slice(345, 500), (bytes(155), b"saved-image-cache".ljust(155, b"\0"))),
    (slice(257, 265), (b"ustar\x0000", b"ustar  \0")),
)


def changed_tar(data: bytes, largest: int, seed: int, mutate: Mutate) -> bytes:
    """Change a tar's blocks, the fields of its headers, or its bytes; mostly the checksums are put right again."""
    chance = random.Random(seed)
    blocks = [data[at : at + _BLOCK] for at in range(0, len(data), _BLOCK)]
    headers = [number for number, block in enumerate(blocks) if block[_MAGIC] == b"ustar"]
    kind = chance.randrange(4) if headers else 0
    if kind == 0:
        data = mutate(data, largest)
    elif kind == 1:
        start, stop = sorted(chance.choices([*headers, len(blocks)], k=2))
        place = chance.choice(headers)
        blocks[place:place] = blocks[start:stop]
    elif kind == 2:
        start, stop = sorted(chance.choices([*headers, len(blocks)], k=2))
        del blocks[start:stop]
    else:
        field, values = chance.choice(_FIELDS)
        number = chance.choice(headers)
        block = bytearray(blocks[number])
        block[field] = chance.choice(values)
        blocks[number] = bytes(block)
    made = (data if kind == 0 else b"".join(blocks))[:largest]
    return _with_checksums(made) if chance.random() < 0.95 else made


def _with_checksums(data: bytes) -> bytes:
    made = bytearray(data)
    for at in range(0, len(data) - _BLOCK + 1, _BLOCK):
        block = made[at : at + _BLOCK]
        if block[_MAGIC] == b"ustar":
            block[_CHECKSUM] = b" " * 8
            block[_CHECKSUM] = b"%06o\0 " % sum(block)
            made[at : at + _BLOCK] = block
    return bytes(made)


def changed_document(data: bytes, largest: int, seed: int, mutate: Mutate) -> bytes:
    """Change a document in one place or a few; what is no document, or would grow too large, is left to `mutate`."""
    chance = random.Random(seed)
    try:
        holder = [json.loads(data)] if chance.random() < 0.8 else None
    except (ValueError, RecursionError):
        holder = None
    if holder is not None:
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            _change(holder, chance, mutate)
        made = json.dumps(holder[0]).encode("utf-8", "surrogatepass")
        if len(made) <= largest:
            return made
    return mutate(data, largest)


def _change(holder: list[Any], chance: random.Random, mutate: Mutate) -> None:
    places = _places(holder)
    where, key = chance.choice(places)
    value = where[key]
    kind = chance.randrange(6)
    if kind == 0 and isinstance(value, str):
        where[key] = mutate(value.encode("utf-8", "surrogatepass"), len(value) + 8).decode("utf-8", "replace")
    elif kind == 1 and isinstance(value, int):
        where[key] = value + chance.choice((-1, 1, -512, 512, 1 << 20, -value, value))
    elif kind == 2 and where is not holder:
        del where[key]
    elif kind == 3:
        other, its_key = chance.choice(places)
        where[key] = _copied(other[its_key])
    elif kind == 4 and isinstance(value, list):
        value.insert(chance.randint(0, len(value)), _copied(chance.choice(value) if value else chance.choice(_VALUES)))
    else:
        where[key] = _copied(chance.choice(_VALUES))


def _places(holder: list[Any]) -> list[_Place]:
    found: list[_Place] = []
    todo: list[Any] = [holder]
    while todo:
        value = todo.pop()
        keys = list(value) if isinstance(value, dict) else range(len(value))
        found += [(value, key) for key in keys]
        todo += [value[key] for key in keys if isinstance(value[key], dict | list)]
    return found


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))
