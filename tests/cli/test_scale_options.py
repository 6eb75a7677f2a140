"""Every command that may take a part of its images does it by the same options."""

from __future__ import annotations

import inspect

from hangar_async.cli import scale_options
from hangar_async.cli.main import make_app


def test_every_command_that_works_on_images_at_registries_takes_shards() -> None:
    having = set()
    for command in make_app().registered_commands:
        assert command.callback is not None
        parameters = inspect.signature(command.callback, eval_str=True).parameters
        if "shard" in parameters and "shards" in parameters:
            assert parameters["shard"].annotation == scale_options.Shard
            having.add(command.name)
    assert having == {"save", "sync", "load", "load-validate", "mirror", "mirror-validate"}
