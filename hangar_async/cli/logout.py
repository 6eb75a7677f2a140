"""`hangar-async logout`."""

from __future__ import annotations

import sys

import typer

from hangar_async.cli import options, values
from hangar_async.cli.argv import GlobalFlags


def logout_command(context: typer.Context, registry: options.Registry) -> int:
    """Forget the user name and password that are kept for a registry where Docker keeps them."""
    from hangar_async.cli.loop import run_until_done
    from hangar_async.cli.page import write_rows
    from hangar_async.cli.text import one_line
    from hangar_async.engine.login import logout

    flags: GlobalFlags = context.obj
    environment = values.environment_for(flags)
    known = run_until_done(lambda: logout(registry, environment=environment), lambda _: None, "")
    if not flags.quiet:
        write_rows([("ok", f"{one_line(registry)}: {'forgotten' if known else 'nothing was kept'}")], sys.stdout)
    return 0
