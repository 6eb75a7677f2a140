"""`NAME.sha256`, the form that `sha256sum -c` reads; values to bytes and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

SUFFIX = ".sha256"
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_ESCAPED = re.compile("|".join(map(re.escape, _ESCAPES)))
_ESCAPE = re.compile(r"\\[\\nr]")
_LINE = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9a-f]{64}) [ *](?P<name>.+)")


def encode(paths: Sequence[Path], digests: Sequence[str]) -> bytes:
    """Return a line for each file, with its name alone; a backslash or a line break is escaped as sha256sum does."""
    lines = []
    for path, digest in zip(paths, digests, strict=True):
        name = _ESCAPED.sub(lambda match: _ESCAPES[match[0]], path.name)
        lines.append(f"{'' if name == path.name else chr(92)}{digest}  {name}\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def decode(data: bytes) -> dict[str, str]:
    """Return the digest of each name, in the order of the lines; raises ValueError."""
    back = {escape: character for character, escape in _ESCAPES.items()}
    found: dict[str, str] = {}
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.removesuffix("\r"))
        if not match:
            raise ValueError(f"{line[:100]!r} is not a digest and a name")
        name = _ESCAPE.sub(lambda escape: back[escape[0]], match["name"]) if match["escaped"] else match["name"]
        if name in found or "/" in name:
            raise ValueError(f"{name[:100]!r} is there twice, or is not a plain name")
        found[name] = match["digest"]
    return found
