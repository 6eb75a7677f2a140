"""The options of convert-list stand in one module only."""

from __future__ import annotations

from hangar_async.cli import convert_options, options


def test_no_option_stands_in_two_modules() -> None:
    names = {name for name in vars(convert_options) if name[0].isupper() and name not in ("Annotated", "Text")}
    assert {"ListToConvert", "MirrorList"} <= names
    assert not names & set(vars(options))
