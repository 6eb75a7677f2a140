"""Patterns of tags: globs, and regular expressions between slashes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate

from hangar_async.errors import InvalidValue

_GLOB = re.compile(r"[\w.*?\[\]!-]{1,128}", re.ASCII)
#: A set of characters, which is the only place of brackets in a pattern: no tag has any.
_SET = re.compile(r"\[!?[^\[\]!]+\]")
_SPECIAL = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Patterns:
    """Patterns of which one must match a whole tag: globs with `*`, `?` and `[a-z]`, or `/REGEX/`."""

    texts: tuple[str, ...]
    _compiled: tuple[re.Pattern[str], ...] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, texts: Iterable[str], *, empty: bool = False) -> Patterns:
        """Read patterns; raises InvalidValue. With `empty`, the pattern "" matches the empty text."""
        texts = tuple(texts)
        globs = [_glob(text, empty) for text in texts if not _is_regex(text)]
        regexes = [_regex(text) for text in texts if _is_regex(text)]
        return cls(texts, (*([re.compile("|".join(globs))] if globs else ()), *regexes))

    @property
    def literals(self) -> tuple[str, ...]:
        """The patterns that match one tag alone."""
        return tuple(text for text in self.texts if not _SPECIAL.search(text) and not _is_regex(text))

    def matches(self, text: str) -> bool:
        """Tell whether one of the patterns matches a text."""
        if len(self._compiled) == 1:
            return self._compiled[0].fullmatch(text) is not None
        return any(pattern.fullmatch(text) for pattern in self._compiled)

    def __str__(self) -> str:
        return ", ".join(text or '""' for text in self.texts)


def _is_regex(text: str) -> bool:
    return len(text) > 1 and text.startswith("/") and text.endswith("/")


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text[1:-1])
    except re.error as error:
        raise InvalidValue(f"{text[:100]!r} is no regular expression: {error}") from error


def _glob(text: str, empty: bool) -> str:
    if not _GLOB.fullmatch(text) and not (empty and not text):
        raise InvalidValue(
            f"{text[:100]!r} matches no tag: write letters, digits, '.', '_', '-' and the wildcards * and ?, or /REGEX/"
        )
    if "[" in (rest := _SET.sub("", text)) or "]" in rest:
        raise InvalidValue(f"{text[:100]!r} matches no tag: a bracket stands alone; write [a-z], or [!a-z] for others")
    return translate(text)
