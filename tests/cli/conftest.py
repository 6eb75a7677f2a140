from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from hangar_async.cli import main
from tests.cli.shelf import Shelf, make_shelf
from tests.cli.site import Done, Site, open_site

#: Runs a command line in this process.
Program: TypeAlias = Callable[..., Done]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(tmp_path) as one:
        yield one


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """Archives that no test changes."""
    return asyncio.run(make_shelf(tmp_path_factory.mktemp("shelf")))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main.run(arguments)
        assert isinstance(ended.value.code, int)
        shown = capsys.readouterr()
        return Done(ended.value.code, shown.out, shown.err)

    return run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "list.txt").write_text("127.0.0.1:1/one:1\n")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    return tmp_path
