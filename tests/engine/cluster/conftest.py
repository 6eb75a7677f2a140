from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.cluster.rig import open_cluster


@pytest.fixture(autouse=True)
def blockbuster() -> None:
    """Look for no blocking calls: dask makes some when a scheduler or a worker starts."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A scheduler in this process and two workers in processes of their own, on loopback."""
    pytest.importorskip("distributed")
    with open_cluster(2) as found:
        yield found
