"""The variables of a job file, whose values are hidden: they may be secrets."""

import json
import re
from collections.abc import Iterator, Mapping

#: A shorter value is a part of too many words to be hidden.
_SHORTEST = 4
#: A name of a host, its port, and what follows.
_HOST = re.compile(r"((?=[^/:]*[A-Za-z])[\w-]+(?:\.[\w-]+)+|[\d.]+|localhost)(:[0-9]+)?(/.*)?", re.ASCII)
#: A variable in a text in which values are hidden, or the part of its value up to a sign, as in a shell.
_SHOWN = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?:%%([/:])\*)?\}")


class NotedVariables(Mapping[str, str]):
    """Variables that note which of them were read; `hide` puts their names in place of their values."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        #: What stands in place of values that were read.
        self._read: dict[str, str] = {}
        #: Finds them, the longest first.
        self._pattern: re.Pattern[str] | None = None

    def __getitem__(self, name: str) -> str:
        value = self._variables[name]
        if len(value) >= _SHORTEST:
            # In JSON some characters have other forms.
            whole = dict.fromkeys((value, json.dumps(value)[1:-1]), f"${{{name}}}")
            self._read = {**_hosts(name, value), **self._read, **whole}
            self._pattern = re.compile("|".join(map(re.escape, sorted(self._read, key=len, reverse=True))))
        return value

    @property
    def unread(self) -> Mapping[str, str]:
        """The variables themselves: what is read of them is not hidden, as those that a program is started with."""
        return self._variables

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def hide(self, text: str) -> str:
        """Return a text with `${NAME}` in place of each value that was read.

        Messages often name the host of an address alone: `${NAME%%/*}` is its part before the first slash.
        """
        # Most texts have none.
        if self._pattern is None or not any(value in text for value in self._read):
            return text
        return self._pattern.sub(lambda match: self._read[match[0]], text)


def shown_values(text: str, variables: Mapping[str, str]) -> str:
    """Return a text in which values are hidden with the values of now; an unknown variable stays as it is."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in variables:
            return match[0]
        found = variables[match[1]]
        return found.partition(match[2])[0] if match[2] else found

    return _SHOWN.sub(value, text)


def _hosts(name: str, value: str) -> dict[str, str]:
    """Return the parts of an address by which messages name its host, each with what stands in its place."""
    match = _HOST.fullmatch(value)
    if match is None:
        return {}
    host, port, rest = match.groups()
    forms = {}
    if port and not host[0].isdigit() and host != "localhost":
        forms[host] = f"${{{name}%%:*}}"
    if rest and ("." in host or port):
        forms[f"{host}{port or ''}"] = f"${{{name}%%/*}}"
    return {form: shown for form, shown in forms.items() if len(form) >= _SHORTEST}
