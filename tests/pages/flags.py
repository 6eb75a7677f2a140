"""The tables of flags in the pages of the commands, made of the program's help.

A table stands below a line `<!-- flags of COMMAND -->`. The page's own words about a flag follow `<br>` in its row, and
stay there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from hangar_async.cli.argv import GLOBAL_FLAGS, LOG_FORMAT, LOG_FORMAT_HELP, SHORT_FLAGS
from hangar_async.cli.main import make_app

DOCS = Path(__file__).parents[2] / "docs"
#: The mark of the table that has the flags of all commands.
EVERY = "all commands"
_MARK = re.compile(r"^<!-- flags of ([a-z -]+) -->\n\n?((?:\|.*\n)*)", re.MULTILINE)
_ROW = re.compile(r"^\| `([^`]*)` \|.*?<br>(.*) \|$", re.MULTILINE)
_DEFAULT = re.compile(r"(.*?)(?:  \[default: (.*)\])?", re.DOTALL)
#: Words of a help text that are typed as they stand: flags, variables, fields, endings, signs.
_TYPED = re.compile(
    r"(?<![\w.$/])(?:--?[a-z][\w-]*(?:=[\w.:]+\w)?|\$[A-Z_]+|\{\w+\}|\.[a-z]\w*(?:\.\w+)*|[*?]|''|-)(?![\w'])"
)


def program_commands() -> dict[str, Any]:
    """Return the commands of the program by name."""
    program: Any = typer.main.get_command(make_app())
    return dict(program.commands)


def with_tables(page: str, commands: dict[str, Any]) -> str:
    """Return the text of a page with each of its tables as the program's help is now."""

    def table(found: re.Match[str]) -> str:
        notes = dict(_ROW.findall(found[2]))
        parsed = _global_rows() if found[1] == EVERY else map(_row, commands[found[1]].params)
        rows = "".join(
            f"| `{flag}` | {default} | {meaning}{f'<br>{notes[flag]}' if flag in notes else ''} |\n"
            for flag, default, meaning in parsed
            if flag
        )
        return f"<!-- flags of {found[1]} -->\n\n| flag | default | meaning |\n| --- | --- | --- |\n{rows}"

    return _MARK.sub(table, page)


def marks(page: str) -> list[str]:
    """Return the commands of which a page has a table."""
    return [name for name, _ in _MARK.findall(page)]


def _row(parameter: Any) -> tuple[str, str, str]:
    """Return the flag, the default and the meaning of a parameter; nothing for `--help`, which has its place."""
    meaning, default = _split(parameter.help or "")
    if parameter.param_type_name == "argument":
        name = parameter.metavar
    else:
        value = "" if parameter.is_flag else f" {parameter.metavar}"
        name = f"{', '.join(parameter.opts)}{value}" if "--help" not in parameter.opts else ""
    if parameter.required:
        default = "required"
    elif not default and parameter.default is not None:
        given = parameter.default
        default = f"`{','.join(given) if isinstance(given, list) else given}`"
    return name, default, meaning


def _global_rows() -> Iterator[tuple[str, str, str]]:
    short = {long: f"{flag}, {long}" for flag, long in SHORT_FLAGS.items()}
    for flag, (_, text) in GLOBAL_FLAGS.items():
        meaning, default = _split(text)
        yield short.get(flag, flag), default, meaning
    meaning, default = _split(LOG_FORMAT_HELP)
    yield f"{LOG_FORMAT} FORMAT", default, meaning
    yield "-h, --help", "", "Show the help and exit."


def _split(text: str) -> tuple[str, str]:
    """Split a help text into the meaning and the default, both for a cell of a table."""
    found = _DEFAULT.fullmatch(text)
    meaning, default = (found[1], found[2] or "") if found else (text, "")
    default = {"false": "off", "true": "on"}.get(default, default)
    return _cell(meaning), _cell(default)


def _cell(text: str) -> str:
    return _TYPED.sub(r"`\g<0>`", text).replace("|", "\\|")


def write() -> list[Path]:
    """Write the tables into the pages, and return the pages that changed."""
    commands = program_commands()
    changed = []
    for path in sorted(DOCS.glob("*.md")):
        page = path.read_text()
        if (now := with_tables(page, commands)) != page:
            path.write_text(now)
            changed.append(path)
    return changed
