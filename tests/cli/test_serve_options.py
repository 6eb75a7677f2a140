"""The options of serve stand in one module only."""

from __future__ import annotations

from hangar_async.cli import options, serve_options


def test_no_option_stands_in_two_modules() -> None:
    names = {name for name in vars(serve_options) if name[0].isupper() and name not in ("Annotated", "Any", "Option")}
    assert {"Listen", "AccessLog"} <= names
    assert names & set(vars(options)) == {"NUMBER", "Text"} | (names & {"Annotated", "Any"})
