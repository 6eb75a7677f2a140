"""`hangar-async login`."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import typer

from hangar_async.cli import options, values
from hangar_async.errors import NetworkError, RegistryError, UsageError

if TYPE_CHECKING:
    from hangar_async import Event


def login_command(
    context: typer.Context,
    registry: options.Registry,
    username: options.Username = None,
    password_stdin: options.PasswordStdin = False,
) -> int:
    """Check a user name and password at a registry, and keep them where Docker does."""
    from hangar_async import LoginOptions, login
    from hangar_async.cli.loop import run_until_done
    from hangar_async.cli.view.text import error_text, write_rows

    flags = values.flags(context)
    environment = values.environment_for(flags)
    name, password = _read_password(username) if password_stdin else _ask(username)
    login_options = LoginOptions(registry, name, password, environment)
    try:
        kept = run_until_done(lambda: login(login_options, _report), _say, "nothing was kept")
    except (NetworkError, RegistryError) as error:
        logging.getLogger(__name__).debug("the login was not kept", exc_info=error)
        _say(error_text(error))
        return 1
    if not flags.quiet:
        text = f"{kept.registry}: kept in {kept.place}"
        unchecked = "" if kept.checked else "; it asks for no user name, so it was not checked"
        write_rows([("ok", text + unchecked)], sys.stdout)
    return 0


def _read_password(username: str | None) -> tuple[str, str]:
    """Read the password from standard input."""
    if username is None:
        raise UsageError("--password-stdin needs --username")
    try:
        text = sys.stdin.buffer.read().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("the password on standard input cannot be read as text") from error
    return username, text.removesuffix("\n").removesuffix("\r")


def _ask(username: str | None) -> tuple[str, str]:
    """Ask for the user name and the password on the terminal; raises UsageError where standard input is none."""
    from getpass import getpass

    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for the password: give it on standard input, --password-stdin")
    try:
        return username or input("Username: "), getpass("Password: ")
    except EOFError as error:
        raise UsageError("no password was given") from error


def _report(event: Event) -> None:
    from hangar_async import Notice

    if isinstance(event, Notice):
        _say(event.text)


def _say(text: str) -> None:
    from hangar_async.cli.view.text import PROGRAM, one_line

    typer.echo(f"{PROGRAM}: {one_line(text)}", err=True)


def logout_command(context: typer.Context, registry: options.Registry) -> int:
    """Remove the user name and password of a registry from the place where Docker keeps them."""
    from hangar_async import LogoutOptions, logout
    from hangar_async.cli.loop import run_until_done
    from hangar_async.cli.view.text import one_line, write_rows

    flags = values.flags(context)
    logout_options = LogoutOptions(registry, values.environment_for(flags))
    known = run_until_done(lambda: logout(logout_options, _report), lambda _: None, "")
    if not flags.quiet:
        write_rows([("ok", f"{one_line(registry)}: {'forgotten' if known else 'nothing was kept'}")], sys.stdout)
    return 0
