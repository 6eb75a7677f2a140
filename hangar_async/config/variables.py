"""The variables of a job file, whose values are hidden: they may be secrets."""

import json
from collections.abc import Iterator, Mapping

#: A shorter value is a part of too many words to be hidden.
_SHORTEST = 4


class NotedVariables(Mapping[str, str]):
    """Variables that note which of them were read; `hide` puts their names in place of their values."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        #: The names of values that were read, the longest value first.
        self._read: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        value = self._variables[name]
        if len(value) >= _SHORTEST:
            # In JSON some characters have other forms.
            self._read |= {value: name, json.dumps(value)[1:-1]: name}
            self._read = dict(sorted(self._read.items(), key=lambda item: -len(item[0])))
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def hide(self, text: str) -> str:
        """Return a text with `${NAME}` in place of each value that was read."""
        for value, name in self._read.items():
            if value in text:
                text = text.replace(value, f"${{{name}}}")
        return text
