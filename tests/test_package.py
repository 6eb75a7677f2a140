"""The public API: names that are loaded when they are first used."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import hangar_async
from tests.cli.programs import environment

VERBS = {
    "save",
    "sync",
    "load",
    "load_validate",
    "serve",
    "ls",
    "verify",
    "extract",
    "compress",
    "decompress",
    "login",
    "logout",
}


def test_every_name_is_there() -> None:
    assert sorted(hangar_async.__all__) == hangar_async.__all__
    for name in hangar_async.__all__:
        assert getattr(hangar_async, name) is not None


def test_what_checkers_see_is_what_programs_get() -> None:
    assert hangar_async.__file__ is not None
    tree = ast.parse(Path(hangar_async.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    assert seen.keys() == set(hangar_async.__all__) - {"__version__"}
    for name, module in seen.items():
        assert getattr(hangar_async, name) is getattr(sys.modules[module or ""], name)


def test_the_verbs_are_coroutines() -> None:
    assert {name for name in hangar_async.__all__ if inspect.iscoroutinefunction(getattr(hangar_async, name))} == VERBS


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'load_all'"):
        hangar_async.load_all  # noqa: B018


def test_importing_the_package_loads_none_of_it(tmp_path: Path) -> None:
    script = "import json, sys, hangar_async; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment(tmp_path)
    )
    loaded = [name for name in json.loads(done.stdout) if name.startswith("hangar_async")]
    assert loaded == ["hangar_async"]
