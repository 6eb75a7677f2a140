"""The program: one command line, one exit status."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from hangar_async import __version__
from hangar_async.cli.argv import GLOBAL_FLAGS, GlobalFlags, Grammar, normalise
from hangar_async.cli.demo import demo_command
from hangar_async.cli.save import save_command
from hangar_async.cli.text import PROGRAM, error_text, one_line
from hangar_async.errors import HangarError, UsageError, the_error

USAGE, BROKEN, INTERRUPTED = 2, 3, 130
_log = logging.getLogger(__name__)


class _Command(TyperCommand):
    def format_options(self, ctx: Any, formatter: Any) -> None:
        super().format_options(ctx, formatter)
        _format_global_flags(formatter)


class _Group(TyperGroup):
    def format_options(self, ctx: Any, formatter: Any) -> None:
        super().format_options(ctx, formatter)
        _format_global_flags(formatter)


def _format_global_flags(formatter: Any) -> None:
    # They are taken out of the command line before typer sees it, so typer cannot know of them.
    with formatter.section("Global flags, before or after the command"):
        formatter.write_dl([(flag, text) for flag, (_, text) in GLOBAL_FLAGS.items()])


app = typer.Typer(
    name=PROGRAM,
    cls=_Group,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("save", cls=_Command)(save_command)
app.command("demo", cls=_Command)(demo_command)


@app.callback(invoke_without_command=True)
def _program(context: typer.Context) -> None:
    """Move container images into places without a network."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(USAGE)


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command line, by default that of the process, and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is shown escaped; it does not end a run.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads our output any more, as behind `| head`; the flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _run(argv: Sequence[str]) -> int:
    program = typer.main.get_command(app)
    try:
        flags, words = normalise(argv, _grammars(program))
        if flags.version:
            typer.echo(f"{PROGRAM} {__version__}")
            return 0
        if flags.debug:
            from hangar_async.cli.logs import show_logs

            show_logs()
        status = program.main(words, prog_name=PROGRAM, standalone_mode=False, obj=flags)
        return status if isinstance(status, int) else 0
    except TyperException as error:
        return _complain(_sentence(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        raise
    except Exception as error:
        return _failed(error)
