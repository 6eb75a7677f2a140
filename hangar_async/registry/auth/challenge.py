"""Challenges: what a server says in WWW-Authenticate.

Source: RFC 9110, section 11.6.1; Docker Registry v2 authentication specification.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.DOTALL)
_SCHEME = re.compile(rf"({_WORD})(?=[\s,]|$)")
_JUNK = re.compile(r"[^\s,]+")
_GAP = re.compile(r"[\s,]*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
#: What stands further on in a header is not read: no registry needs as much.
_LONGEST = 4 << 10


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate; `scheme` and the names of `parameters` are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        """Where tokens are to be had (Bearer), or what is protected (Basic); "" where it isn't said."""
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        """The name under which the token server knows the registry; "" where it isn't said."""
        return self.parameters.get("service", "")


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Read the values of all WWW-Authenticate headers in their order; what cannot be read is passed over."""
    return tuple(challenge for header in headers for challenge in _parse(header[:_LONGEST]))


def _parse(text: str) -> list[Challenge]:
    """Walk one header: a word that stands alone begins a challenge, `name=value` belongs to the last one."""
    found: list[tuple[str, dict[str, str]]] = []
    at = _after(_GAP, text, 0)
    while at < len(text):
        if match := _PARAMETER.match(text, at):
            if found:
                value = match[3] if match[2] is None else _ESCAPED.sub(r"\1", match[2])
                found[-1][1].setdefault(match[1].lower(), value)
        elif match := _SCHEME.match(text, at):
            found.append((match[1].lower(), {}))
        at = _after(_GAP, text, match.end() if match else _after(_JUNK, text, at))
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
