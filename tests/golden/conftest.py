"""Fixtures of this room."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from tests.golden.rig import HERE


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A directory with copies of all files, and the cache unpacked."""
    directory = tmp_path / "golden"
    directory.mkdir()
    for path in HERE.glob("*.tar*"):
        shutil.copy(path, directory)
    with tarfile.open(HERE / "cache.tar") as tar:
        # Python 3.11 has filters from 3.11.4 on.
        filters = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
        tar.extractall(directory, **filters)  # type: ignore[arg-type]  # noqa: S202 - made by us
    return directory
