"""Challenges: the ways to authenticate that a server gives in WWW-Authenticate.

Source: RFC 9110, section 11.6.1; Docker Registry v2 authentication specification.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hangar_async.registry.http.response import Response

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.DOTALL)
_SCHEME = re.compile(rf"({_WORD})(?=[\s,]|$)")
_JUNK = re.compile(r"[^\s,]+")
_GAP = re.compile(r"[\s,]*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
#: No more characters of a header are read: no registry needs as many.
_LONGEST = 4 << 10


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate; `scheme` and the names of `parameters` are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        """The address of the token server (Bearer), or the name of the protected space (Basic); "" where not given."""
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        """The name under which the token server knows the registry; "" where not given."""
        return self.parameters.get("service", "")


def challenges_of(response: Response) -> tuple[Challenge, ...]:
    """Return the challenges that come with a response of 401; none for any other."""
    if response.status != 401 or response.redirected:
        return ()
    return parse_challenges(response.headers.getall("WWW-Authenticate", []))


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Read the values of all WWW-Authenticate headers in their order; the unreadable is passed over."""
    return tuple(challenge for header in headers for challenge in _parse(header[:_LONGEST]))


def _parse(text: str) -> list[Challenge]:
    """Walk one header: a word that stands alone begins a challenge, `name=value` belongs to the last one."""
    challenges: list[tuple[str, dict[str, str]]] = []
    at = _after(_GAP, text, 0)
    while at < len(text):
        if match := _PARAMETER.match(text, at):
            if challenges:
                value = match[3] if match[2] is None else _ESCAPED.sub(r"\1", match[2])
                challenges[-1][1].setdefault(match[1].lower(), value)
        elif match := _SCHEME.match(text, at):
            challenges.append((match[1].lower(), {}))
        at = _after(_GAP, text, match.end() if match else _after(_JUNK, text, at))
    return [Challenge(scheme, parameters) for scheme, parameters in challenges]


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
