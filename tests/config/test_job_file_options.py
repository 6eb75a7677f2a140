"""Options of job files are checked when they are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.errors import UsageError


def test_a_check_is_a_dry_run() -> None:
    config = Path("mirror.yaml")
    assert not MirrorJobsOptions(config=config).is_dry
    assert MirrorJobsOptions(config=config, check=True).is_dry
    assert MirrorJobsOptions(config=config, dry_run=True).is_dry
    assert MirrorJobsOptions(config=config, plan_out=Path("plan")).is_dry


def test_a_plan_is_read_or_written() -> None:
    with pytest.raises(UsageError, match="write one of --plan and --plan-out"):
        MirrorJobsOptions(config=Path("x"), plan=Path("a"), plan_out=Path("b"))


def test_the_registries_of_the_environment_do_not_count() -> None:
    environment = Environment(source_registry="in.local", destination_registry="out.local", variables={"A": "b"})
    options = MirrorJobsOptions(config=Path("x"), environment=environment).for_file()
    assert options.environment.source_registry is options.environment.destination_registry is None
    assert options.environment.variables == {"A": "b"}


def test_limits_are_checked() -> None:
    with pytest.raises(UsageError, match="--requests is 0"):
        MirrorJobsOptions(config=Path("x"), requests=0)
