"""A verb of the engine, run as a command: a view shows how it goes, signals end it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hangar_async.cli.loop import run_until_done
from hangar_async.cli.view import open_view
from hangar_async.engine.events import Observer

_T = TypeVar("_T")


def watch(work: Callable[[Observer], Coroutine[Any, Any, _T]], *, quiet: bool, remains: str) -> _T:
    """Run a verb to its end and return its result; `remains` tells whoever interrupts it what stays behind."""
    with open_view(quiet) as view:

        def tell(text: str) -> None:
            view.close()
            view.say(text)

        return run_until_done(lambda: work(view), tell, remains)
