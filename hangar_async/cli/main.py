"""The program: a command line in, an exit status out."""

import gc
import importlib
import os
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from hangar_async import __version__
from hangar_async.cli.argv import Grammar, is_json, normalise, without_help_word
from hangar_async.cli.options import NUMBER
from hangar_async.cli.view.stream import end, in_background, json_stream
from hangar_async.cli.view.text import (
    PROGRAM,
    abandon,
    error_text,
    message_lines,
    null_device,
    one_line,
    write_document,
    writing,
)
from hangar_async.errors import ArchiveError, ContentError, HangarError, NoPlatform, UsageError, the_error

WRONG, USAGE, BROKEN = 1, 2, 3
#: Python looks for cycles of objects that are not used any more with each 700 new ones. Few are made here.
_GARBAGE = (10_000, 20, 50)
_INTEGER = re.compile("-?[0-9]{1,9}")
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take values that are right as they stand; help, and any wrong one, are typer's, which loads pydantic."""
        given, rest, _ = self.make_parser(ctx).parse_args(list(args))
        values = None if rest else _values(self.get_params(ctx), given)
        if values is None:
            return super().parse_args(ctx, args)
        ctx.params.update(values)
        ctx.args = []
        return []

    def format_options(self, ctx: Any, formatter: Any) -> None:
        from hangar_async.cli.help import write_command

        write_command(PROGRAM, self, ctx, formatter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        from hangar_async.cli.help import usage_words

        return usage_words(self)


def _values(parameters: Iterable[Any], given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the values of a command's parameters, None for wrong ones: texts, lists of them, numbers, and flags."""
    values: dict[str, Any] = {}
    for parameter in parameters:
        value = given.get(parameter.name)
        if not parameter.expose_value:
            if value is not None:
                return None
            continue
        if value is None:
            value = parameter.default
        elif parameter.metavar == NUMBER:
            if not _INTEGER.fullmatch(value):
                return None
            value = int(value)
        if value is None and parameter.required:
            return None
        values[parameter.name] = value
    return values


class _Group(TyperGroup):
    def format_options(self, ctx: Any, formatter: Any) -> None:
        from hangar_async.cli.help import write_global_flags

        super().format_options(ctx, formatter)
        write_global_flags(formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        from hangar_async.cli.help import write_commands

        write_commands([(name, command.help or "") for name, command in self.commands.items()], formatter)


_SETTINGS = {"help_option_names": ["-h", "--help"]}
#: Each is the function NAME_command of the module `commands.NAME`, with "_" for "-".
COMMANDS = (
    "save",
    "sync",
    "load",
    "load-validate",
    "mirror",
    "mirror-validate",
    "serve",
    "ls",
    "verify",
    "extract",
    "compress",
    "merge",
    "decompress",
    "convert-list",
    "report",
    "login",
    "logout",
    "demo",
    "completion",
)
#: The commands that stand in the module of another one.
_MODULES = {"logout": "login"}


def make_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Make the program with these commands; one costs a fraction of all to load."""
    app = typer.Typer(name=PROGRAM, cls=_Group, rich_markup_mode=None, add_completion=False, context_settings=_SETTINGS)
    app.callback(invoke_without_command=True)(_program)
    for name in names:
        word = name.replace("-", "_")
        module = importlib.import_module(f"hangar_async.cli.commands.{_MODULES.get(word, word)}")
        command = getattr(module, f"{word}_command")
        app.command(name, cls=_Command, context_settings=_SETTINGS)(command)
    return app


def _program(context: typer.Context) -> None:
    """Move container images into places without a network."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(USAGE)


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command line, by default that of the process, and exit with its status."""
    gc.set_threshold(*_GARBAGE)
    _repair_streams()
    argv = sys.argv[1:] if argv is None else argv
    with _own_signals(), _own_standard_error(as_json=is_json(argv)):
        try:
            status = _run(argv)
        except BrokenPipeError:
            abandon(sys.stdout)
            status = 0
        except KeyboardInterrupt:
            status = _interrupted(signal.SIGINT)
        except _Ended as ended:
            status = _interrupted(ended.number)
    _end_streams()
    sys.exit(status)


class _Ended(BaseException):
    """Raised in the main thread by a signal that ends the process."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _end(number: int, _: object) -> NoReturn:
    raise _Ended(number)


def _exit(number: int, _: object) -> NoReturn:
    os._exit(128 + number)


def _interrupted(number: int) -> int:
    """Let the next signal end the process, give up standard output, and return the status."""
    for other in (signal.SIGINT, *_ENDING):
        signal.signal(other, _exit)
    with suppress(OSError, ValueError):
        abandon(sys.stdout)
    return 128 + number


@contextmanager
def _own_signals() -> Iterator[None]:
    """Take over the signals that end a process, but never process 1 of a container unless it takes them over."""
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDING) if is_main}
    for number in _ENDING:
        if before.get(number) == signal.SIG_DFL:
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number, receiver in before.items():
            signal.signal(number, receiver)


@contextmanager
def _own_standard_error(*, as_json: bool) -> Iterator[None]:
    """Write standard error in the background: a reader who takes nothing never holds up the work."""
    before, sys.stderr = sys.stderr, in_background(sys.stderr, as_json=as_json)
    try:
        yield
    finally:
        stream, sys.stderr = sys.stderr, before
        end(stream)


def _end_streams() -> None:
    """Flush the streams, so that a closed reader does not change the exit status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                abandon(stream)


def _repair_streams() -> None:
    """Open closed streams, and escape characters that the terminal lacks, so that output never fails a run."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # The process was started with it closed.
            setattr(sys, name, os.fdopen(null_device(), mode))
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _run(argv: Sequence[str]) -> int:
    # Only global flags stand before a command; the one with a value of its own makes all be loaded.
    argv = without_help_word(argv)
    named = next((word for word in argv if not word.startswith("-")), "")
    program: Any = typer.main.get_command(make_app([named] if named in COMMANDS else COMMANDS))
    name = PROGRAM
    grammars = _grammars(program)
    try:
        flags, words = normalise(argv, grammars)
        if flags.version:
            write_document(f"{PROGRAM} {__version__}", sys.stdout)
            return 0
        if flags.debug:
            from hangar_async.cli.loop import show_logs

            show_logs()
        # The command is called by itself: typer's way there, through the group, loads pydantic for every `--help`.
        command = program.commands.get(words[0]) if words else None
        if command is not None:
            name = f"{PROGRAM} {words.pop(0)}"
            if "--help" not in words:
                from hangar_async.filesystem import MOST_OPEN_FILES, allow_open_files

                _check_working_directory()
                allow_open_files(MOST_OPEN_FILES)
        elif words and not words[0].startswith("-"):
            from hangar_async.cli.suggestions import unknown_command

            return _write_wrong(unknown_command(words[0], COMMANDS), name)
        settings: dict[str, int] = {}
        if "--help" in words or not words:
            from hangar_async.cli.help import narrow_settings

            settings = narrow_settings()
        # What is written here is the help alone: a command writes in its own way.
        with writing(sys.stdout) if "--help" in words else nullcontext():
            status = (command or program).main(words, prog_name=name, standalone_mode=False, obj=flags, **settings)
        return status if isinstance(status, int) else 0
    except TyperException as error:
        from hangar_async.cli.suggestions import sentence

        return _write_wrong(sentence(error, grammars.get(named, Grammar())), name)
    except BrokenPipeError:
        raise
    except Exception as error:
        return _failed(error)


def _check_working_directory() -> None:
    """Raise UsageError where the working directory was removed: no path would lead anywhere."""
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError("the working directory is gone: go to another one (cd)") from error


def _failed(error: Exception) -> int:
    """Write the error that ended a run in one line, log its traceback, and return the exit status."""
    import logging

    logging.getLogger(__name__).debug("the command ended with an error", exc_info=error)
    try:
        known: HangarError = the_error(error)
    except Exception as unexpected:
        while isinstance(unexpected, ExceptionGroup):
            unexpected = unexpected.exceptions[0]
        text = f"unexpected {type(unexpected).__name__}: {unexpected}; --debug shows where: please report it"
        return _write_error(text, BROKEN)
    return _write_error(error_text(known), _status(known), known)


def _status(error: HangarError) -> int:
    """Return the exit status: 2 for wrong usage, 1 for a damaged input, 3 for an output that could not be written."""
    if isinstance(error, UsageError | NoPlatform):
        return USAGE
    return WRONG if isinstance(error, ArchiveError | ContentError) else BROKEN


def _write_error(text: str, status: int, error: HangarError | None = None) -> int:
    if (stream := json_stream()) is not None:
        from hangar_async.cli.view.json_lines import error_line

        stream.send(error_line(text, status, error))
    else:
        typer.echo(message_lines(f"{PROGRAM}: {one_line(text)}", sys.stderr), err=True)
    return status


def _write_wrong(message: str, program: str) -> int:
    """Write a message about a wrong command line, and the way to its help."""
    return _write_error(f"{message}{'' if message.endswith('?') else ';'} try '{program} --help'", USAGE)


def _grammars(program: Any) -> Mapping[str, Grammar]:
    """Read off the commands which of their options are boolean flags, and which take a value."""
    return {name: _grammar(command.params) for name, command in program.commands.items()}


def _grammar(parameters: Sequence[Any]) -> Grammar:
    flags: dict[str, str] = {}
    opposites: dict[str, str] = {}
    valued: set[str] = set()
    for parameter in parameters:
        if parameter.param_type_name != "option":
            continue
        for spellings in (parameter.opts, parameter.secondary_opts):
            if parameter.is_flag:
                flags.update(dict.fromkeys(spellings, spellings[-1] if spellings else ""))
            else:
                valued.update(spellings)
        if parameter.is_flag and parameter.secondary_opts:
            on, off = parameter.opts[-1], parameter.secondary_opts[-1]
            opposites |= {on: off, off: on}
    return Grammar(flags, opposites, frozenset(valued))
