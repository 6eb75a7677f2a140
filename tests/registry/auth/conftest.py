"""Credential helpers that a test writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.credential_helpers import Helpers
from tests.fakes.faulty_disk import forbid_reading


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helpers:
    return Helpers(tmp_path, monkeypatch)


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential file of another user."""
    return forbid_reading(tmp_path / "other" / "config.json", monkeypatch)
