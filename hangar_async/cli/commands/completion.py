"""`hangar-async completion`."""

import sys
from typing import Annotated

import typer

from hangar_async.errors import UsageError

Shell = Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)]


def completion_command(context: typer.Context, shell: Shell) -> int:
    """Write the script that completes commands, flags and values in bash, zsh or fish."""
    from hangar_async.cli.completion import SHELLS, script
    from hangar_async.cli.main import make_app
    from hangar_async.cli.view.text import PROGRAM, write_document

    if shell not in SHELLS:
        raise UsageError(f"unknown shell {shell!r}: write bash, zsh or fish")
    write_document(script(shell, PROGRAM, typer.main.get_command(make_app()).commands), sys.stdout)  # type: ignore[attr-defined]
    return 0
