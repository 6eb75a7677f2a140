"""Flags that have no meaning beside a job file, or without one, are refused."""

from __future__ import annotations

from typing import Any

import pytest

from hangar_async.cli.jobs import check_flags, check_watch
from hangar_async.errors import UsageError

LISTED: dict[str, Any] = {"IMAGE": [], "--arch": ["amd64,arm64"], "--to": None, "--index": "auto"}
OTHERS: dict[str, Any] = {"--only": None, "--check": False}


def test_flags_that_have_a_meaning() -> None:
    check_flags("mirror.yaml", LISTED, {"--only": ["a"], "--check": True})
    check_flags(None, {**LISTED, "IMAGE": ["nginx"], "--index": "partial"}, OTHERS)


@pytest.mark.parametrize(
    ("flag", "value"), [("IMAGE", ["nginx"]), ("--arch", ["all"]), ("--to", "x"), ("--index", "partial")]
)
def test_a_flag_that_stands_in_the_file(flag: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{flag} stands in the job file: leave it out beside --config"):
        check_flags("mirror.yaml", {**LISTED, flag: value}, OTHERS)


@pytest.mark.parametrize(("flag", "value"), [("--only", ["a"]), ("--check", True)])
def test_a_flag_that_needs_a_file(flag: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{flag} needs a job file: write --config FILE too"):
        check_flags(None, LISTED, {**OTHERS, flag: value})


def test_flags_of_a_watch() -> None:
    check_watch({"--check": False, "--plan": None}, watch=True, metrics="9464")
    check_watch({"--check": True, "--plan": "p"}, watch=False, metrics=None)
    with pytest.raises(UsageError, match="--check is for a single run: leave it out beside --watch"):
        check_watch({"--check": True}, watch=True, metrics=None)
    with pytest.raises(UsageError, match="--metrics has a meaning beside --watch alone"):
        check_watch({}, watch=False, metrics="9464")
