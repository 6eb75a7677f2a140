"""The options of mirrors stand in one module only."""

from __future__ import annotations

from hangar_async.cli import job_options, options


def test_no_option_stands_in_two_modules() -> None:
    names = {name for name in vars(job_options) if name[0].isupper() and name != "Annotated"}
    assert names
    assert not names & set(vars(options))
