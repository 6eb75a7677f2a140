"""Credential helpers that a test writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.credential_helpers import Helpers


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helpers:
    return Helpers(tmp_path, monkeypatch)


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"
