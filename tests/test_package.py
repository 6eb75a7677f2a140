"""The public API: names that are loaded when they are first used."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import hangar_async
from hangar_async import errors
from hangar_async.engine import events
from tests.cli.programs import environment

NAMES: list[str] = getattr(hangar_async, "__all__")  # noqa: B009 - a checker knows the names by the stub
VERBS = {
    "save",
    "save_jobs",
    "sync",
    "load",
    "load_validate",
    "serve",
    "ls",
    "verify",
    "extract",
    "compress",
    "decompress",
    "merge",
    "convert_list",
    "explain_tag",
    "merge_reports",
    "mirror",
    "mirror_jobs",
    "watch_jobs",
    "mirror_validate",
    "login",
    "logout",
}


def test_every_name_is_there() -> None:
    assert sorted(NAMES) == NAMES
    for name in NAMES:
        assert getattr(hangar_async, name) is not None


def test_the_names_are_listed_without_loading_them(tmp_path: Path) -> None:
    script = "import json, sys, hangar_async; print(json.dumps([dir(hangar_async), sorted(sys.modules)]))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment(tmp_path)
    )
    names, loaded = json.loads(done.stdout)
    assert {*NAMES, "__version__"} <= set(names)
    assert [name for name in loaded if name.startswith("hangar_async")] == ["hangar_async"]


def test_every_event_and_every_error_is_public() -> None:
    for module in (events, errors):
        classes = {name for name, value in vars(module).items() if inspect.isclass(value)}
        own = {name for name in classes if getattr(module, name).__module__ == module.__name__}
        assert own <= set(NAMES)


def test_the_verbs_are_coroutines() -> None:
    assert {name for name in NAMES if inspect.iscoroutinefunction(getattr(hangar_async, name))} == VERBS


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'load_all'"):
        getattr(hangar_async, "load_all")  # noqa: B009


def test_importing_the_package_loads_none_of_it(tmp_path: Path) -> None:
    script = "import json, sys, hangar_async; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment(tmp_path)
    )
    loaded = [name for name in json.loads(done.stdout) if name.startswith("hangar_async")]
    assert loaded == ["hangar_async"]
