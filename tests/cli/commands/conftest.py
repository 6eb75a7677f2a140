"""Fixtures of this room."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import pytest

from hangar_async.cli import loop
from hangar_async.config.options import CompressOptions, SaveOptions, SyncOptions
from tests.cli.commands.rig import SECRET
from tests.fakes.auth import Basic
from tests.fakes.registry import FakeRegistry, fake_registry


@pytest.fixture
def asked_saves(monkeypatch: pytest.MonkeyPatch) -> list[tuple[SaveOptions, bool]]:
    """Keep the options of the verb, which is not run."""
    found: list[tuple[SaveOptions, bool]] = []

    def keep(verb: object, options: SaveOptions, *_: object, quiet: bool, **_flags: object) -> SimpleNamespace:
        found.append((options, quiet))
        return SimpleNamespace(status=0)

    monkeypatch.setattr(loop, "run_verb", keep)
    for name in ("SOURCE_REGISTRY", "SOURCE_USERNAME", "SOURCE_PASSWORD", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.fixture
def silent_socket() -> Iterator[socket.socket]:
    """A host that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


@pytest.fixture
def asked_compressions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[CompressOptions, bool]]:
    """Keep the options of the verb, which is not run."""
    found: list[tuple[CompressOptions, bool]] = []

    def keep(verb: object, options: CompressOptions, *_: object, quiet: bool, **_flags: object) -> SimpleNamespace:
        found.append((options, quiet))
        return SimpleNamespace(status=0)

    monkeypatch.setattr(loop, "run_verb", keep)
    return found


@pytest.fixture
def asked_syncs(monkeypatch: pytest.MonkeyPatch) -> list[SyncOptions]:
    """Keep the options of the verb, which is not run."""
    found: list[SyncOptions] = []

    def keep(verb: object, options: SyncOptions, *_: object, quiet: bool, **_flags: object) -> SimpleNamespace:
        found.append(options)
        return SimpleNamespace(status=int(quiet))

    monkeypatch.setattr(loop, "run_verb", keep)
    return found


@pytest.fixture
async def password_registry() -> AsyncIterator[FakeRegistry]:
    async with fake_registry(auth=Basic({"me": SECRET})) as one:
        yield one
