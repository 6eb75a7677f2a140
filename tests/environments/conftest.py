from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environments.rig import Machine, prepare
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="environment-") as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path


@pytest.fixture
async def machine(place: Path, pushable_registry: FakeRegistry) -> Machine:
    """A usual machine, from which a test makes its own."""
    for name in ("one", "two"):
        pushable_registry.add(f"{name}:1", small(name))
    home = place / "work"
    home.mkdir()
    return prepare(home, pushable_registry)
