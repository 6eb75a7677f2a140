"""Fixtures of this room."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

pytest.register_assert_rewrite("tests.model.rig", "tests.model.loads", "tests.faults.rig")


@pytest.fixture(scope="session")
def one_authority(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(autouse=True)
def _few_authorities(_own_settings: None, one_authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one authority be all that the system trusts: each run reads them, and they are many."""
    monkeypatch.setenv("SSL_CERT_FILE", str(one_authority))
