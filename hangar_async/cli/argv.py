"""Command lines of scripts, converted to the one form that typer reads.

Boolean flags may have a value (`--tls-verify=false`), and global flags may stand before or after the command. The rules
are those of getopt: the argument after an option that takes a value is its value, and `--` ends the options.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hangar_async.errors import UsageError

#: The values of Go's strconv.ParseBool.
_BOOLEANS = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "false", "FALSE", "False"), False
)
_HELP = {"-h": "--help", "--help": "--help"}
#: The short spellings of global flags.
SHORT_FLAGS = {"-V": "--version"}


@dataclass(frozen=True, slots=True)
class GlobalFlags:
    """The flags that every command takes."""

    debug: bool = False
    quiet: bool = False
    tls_verify: bool = True
    verbose: bool = False
    version: bool = False
    log_format: str = "text"


#: The spelling of each global flag, its field, and its help with its default.
GLOBAL_FLAGS = {
    "--debug": ("debug", "Write each step on standard error.  [default: false]"),
    "--quiet": ("quiet", "Show only warnings and failures.  [default: false]"),
    "--tls-verify": ("tls_verify", "Verify TLS; --tls-verify=false also allows plain HTTP.  [default: true]"),
    "--verbose": ("verbose", "Show each note about an image, where the summary counts them.  [default: false]"),
    "--version": ("version", "Show the version and exit."),
}
#: The global flag that has a value, and its values.
LOG_FORMAT = "--log-format"
LOG_FORMATS = ("text", "json")
LOG_FORMAT_HELP = "text, or json: each event as a line of JSON on standard error.  [default: text]"


@dataclass(frozen=True, slots=True)
class Grammar:
    """The options of a command: its boolean flags (each spelling, and the one to use), and those with a value.

    `opposites` has, for the flags that are on by default, the flag that turns each off.
    """

    flags: Mapping[str, str] = field(default_factory=dict)
    opposites: Mapping[str, str] = field(default_factory=dict)
    valued: frozenset[str] = frozenset()


def without_help_word(argv: Sequence[str]) -> list[str]:
    """Return a command line with `help COMMAND` as `COMMAND --help`, and any other as it is."""
    words = list(argv)
    first = next((place for place, word in enumerate(words) if not word.startswith("-")), None)
    if first is not None and words[first] == "help":
        # Its own flags would be read before the help is shown.
        words[first:] = [*words[first + 1 : first + 2], "--help"]
    return words


def normalise(argv: Sequence[str], commands: Mapping[str, Grammar]) -> tuple[GlobalFlags, list[str]]:
    """Take the global flags out of a command line, and give every other boolean flag its bare form.

    A flag that is off disappears, or becomes its opposite; of several the last one counts. Raises UsageError for a
    value that is no boolean. Other errors are left to typer.
    """
    reader = _Reader(argv, commands)
    while reader.arguments:
        reader.read(reader.arguments.popleft())
    command = [] if reader.command is None else [reader.command]
    return GlobalFlags(**reader.globals), [*reader.before, *command, *reader.flags, *reader.after]


class _Reader:
    def __init__(self, argv: Sequence[str], commands: Mapping[str, Grammar]) -> None:
        self.arguments = deque(argv)
        self.commands = commands
        self.grammar = Grammar()
        self.command: str | None = None
        self.globals: dict[str, Any] = {}
        self.flags: dict[str, None] = {}
        self.before: list[str] = []
        self.after: list[str] = []
        self.out = self.before

    def read(self, argument: str) -> None:
        if argument == "--":
            self.out.extend([argument, *self.arguments])
            self.arguments.clear()
        elif argument.startswith("--"):
            self.long(argument)
        elif argument.startswith("-") and argument != "-":
            self.short(argument)
        elif self.command is None:
            self.before += self.flags
            self.flags = {}
            self.command = argument
            self.out = self.after
            self.grammar = self.commands.get(argument, Grammar())
        else:
            self.out.append(argument)

    def long(self, argument: str) -> None:
        name, equals, value = argument.partition("=")
        if name == LOG_FORMAT:
            self.globals["log_format"] = _log_format(value if equals else "".join(self.next()))
        elif name in self.grammar.valued:
            self.out.append(argument)
            if not equals:
                self.out.extend(self.next())
        elif name in GLOBAL_FLAGS or self.is_flag(name):
            self.switch(name, _boolean(name, value) if equals else self.bare(name))
        else:
            self.out.append(argument)

    def short(self, argument: str) -> None:
        flags, dash, _ = argument[1:].partition("-")
        if dash and all(self.is_flag(f"-{letter}") for letter in flags):
            # The rest of `-x-part` without its first flag would be another flag.
            self.out.append(argument)
            return
        for place, letter in enumerate(argument[1:], 1):
            name, rest = f"-{letter}", argument[place + 1 :]
            if name in self.grammar.valued:
                # `-j 4`, `-j4`, and `-j=4` as Go's flags have it.
                self.out.append(name)
                self.out.extend([rest.removeprefix("=")] if rest else self.next())
                return
            if not self.is_flag(name):
                self.out.append(f"-{argument[place:]}")
                return
            if rest.startswith("="):
                self.switch(name, _boolean(name, rest[1:]))
                return
            self.switch(name, True)

    def is_flag(self, name: str) -> bool:
        return name in self.grammar.flags or name in _HELP or name in SHORT_FLAGS

    def bare(self, name: str) -> bool:
        # By getopt, `--tls-verify false` turns the flag on, and `false` is an argument: that is a mistake.
        if self.arguments and self.arguments[0] in ("true", "false"):
            raise UsageError(f"the value of {name} follows a '=': write {name}={self.arguments[0]}")
        return True

    def next(self) -> list[str]:
        # At the end of the line, typer reports that the value is missing.
        return [self.arguments.popleft()] if self.arguments else []

    def switch(self, name: str, on: bool) -> None:
        name = SHORT_FLAGS.get(name, name)
        if name in GLOBAL_FLAGS:
            self.globals[GLOBAL_FLAGS[name][0]] = on
            return
        name = self.grammar.flags.get(name) or _HELP[name]
        opposite = self.grammar.opposites.get(name, "")
        for spelling in (name, opposite):
            self.flags.pop(spelling, None)
        if on or opposite:
            self.flags[name if on else opposite] = None


def is_json(argv: Sequence[str]) -> bool:
    """Tell, before a command line is read, whether it wants lines of JSON."""
    return f"{LOG_FORMAT}=json" in argv or (LOG_FORMAT, "json") in pairwise(argv)


def _log_format(value: str) -> str:
    if value not in LOG_FORMATS:
        raise UsageError(f"{value[:100]!r} is not a value of {LOG_FORMAT}: write text or json")
    return value


def _boolean(name: str, value: str) -> bool:
    if value not in _BOOLEANS:
        raise UsageError(f"{value[:100]!r} is not a value of {name}: write {name}=true or {name}=false")
    return _BOOLEANS[value]
