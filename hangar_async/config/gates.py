"""Gates: programs that judge an image before it gets its tag."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from hangar_async.errors import UsageError

_FIELD = re.compile(r"\{([A-Za-z_]+)\}")
_FIELDS = ("source", "destination", "digest", "tag")


@dataclass(frozen=True, slots=True)
class Gate:
    """A program with its arguments, which lets an image have its tag where it ends with status 0.

    In the words, `{source}` and `{destination}` stand for the names of the repositories, REGISTRY/NAME, `{digest}` for
    the digest at the source, and `{tag}` for the tag there, "" where it has none. No shell reads them. `seconds` is the
    longest time that it may take. `hidden` are texts, in the words or in its output, that no message shows. Raises
    UsageError when made with a wrong value.
    """

    words: tuple[str, ...] = field(repr=False)
    seconds: float = 60.0
    hidden: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.words or not self.words[0]:
            raise UsageError("the gate names no program: write it and its arguments, each as a text of the list")
        for word in self.words:
            check_gate_word(word)

    @property
    def needs_target(self) -> bool:
        """True when the program reads the image at its target, where it must stand under its digest then."""
        return any("{destination}" in word for word in self.words)

    def command(self, values: Mapping[str, str]) -> list[str]:
        """Return the words with the values of their fields."""
        return [_FIELD.sub(lambda match: values[match[1]], word) for word in self.words]

    def shown(self, text: str) -> str:
        """Return a text without what no message shows."""
        for one in filter(None, self.hidden):
            text = text.replace(one, "***")
        return text


def check_gate_word(word: str) -> None:
    """Raise UsageError for a word of a gate that has an unknown field."""
    for name in _FIELD.findall(word):
        if name not in _FIELDS:
            nearest = get_close_matches(name, _FIELDS, 1)
            known = f"write {{{nearest[0]}}}" if nearest else f"it has {', '.join(f'{{{one}}}' for one in _FIELDS)}"
            raise UsageError(f"{{{name}}} is no field of a gate: {known}")
