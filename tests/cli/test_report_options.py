"""The options of reports are those of the commands that work on images."""

from __future__ import annotations

import inspect

from hangar_async.cli import report_options
from hangar_async.cli.main import make_app


def test_every_command_that_works_on_images_has_a_report() -> None:
    having = set()
    for command in make_app().registered_commands:
        assert command.callback is not None
        parameters = inspect.signature(command.callback, eval_str=True).parameters.values()
        if any(parameter.annotation == report_options.ReportFile for parameter in parameters):
            having.add(command.name)
    assert having == {"save", "sync", "load", "load-validate", "mirror", "mirror-validate", "verify"}
