"""Fixtures of this directory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hangar_async.engine.save import save
from hangar_async.testing.images import Built
from tests.engine.conftest import site
from tests.fakes import docker_registry as real
from tests.fakes.engines import Containerd, Docker, containerd, docker_daemon
from tests.fakes.programs import run
from tests.fakes.registry import FakeRegistry
from tests.real.rig import options
from tests.registry.conftest import authority

__all__ = ["authority", "site"]


@pytest.fixture
async def saved(fake_registry: FakeRegistry, images: Mapping[str, Built], tmp_path: Path) -> tuple[Path, str]:
    """An archive in parts of one image of every kind, and the registry in their names."""
    names = []
    for name, built in images.items():
        fake_registry.add(f"{name}:1", built)
        names.append(f"{fake_registry.address}/{name}:1")
    report = await save(options(tmp_path, *names, format="zstd", destination=tmp_path / "x", part_size=700_000))
    assert report.status == 0
    assert report.output is not None
    return report.output.path, fake_registry.address


@pytest.fixture
def second_registry(tmp_path: Path, docker_registry: str) -> Iterator[str]:
    """One more real registry, empty: its HOST:PORT."""
    with real.docker_registry(tmp_path / "second") as address:
        assert address != docker_registry
        yield address


@pytest.fixture
def client() -> Iterator[Callable[..., Awaitable[str]]]:
    """Runs a program that keeps images in a store of its own: `await client("podman", "pull", ...)`."""
    # The paths of podman have at most 50 characters.
    with tempfile.TemporaryDirectory(prefix="c") as directory:
        home = Path(directory)
        store = ["--root", str(home / "root"), "--runroot", str(home / "run"), "--storage-driver", "vfs"]
        environment = {"HOME": directory, "XDG_RUNTIME_DIR": directory, "TMPDIR": directory}

        async def start(program: str, *words: str) -> str:
            _need_client(program)
            return await run(program, *(() if program == "umoci" else store), *words, env=environment)

        yield start


@pytest.fixture
async def ctr() -> AsyncIterator[Containerd]:
    """A containerd, and its client."""
    _need_client("containerd")
    # The paths of its sockets have at most 106 characters.
    with tempfile.TemporaryDirectory(prefix="c") as directory:
        async with containerd(Path(directory), "127.0.0.1:1") as engine:
            yield engine


@pytest.fixture
async def docker() -> AsyncIterator[Docker]:
    """A daemon of Docker's, and its client."""
    _need_client("dockerd")
    with tempfile.TemporaryDirectory(prefix="c") as directory:
        async with docker_daemon(Path(directory)) as engine:
            yield engine


def _need_client(program: str) -> None:
    if shutil.which(program) is None:
        missing = f"{program} is not installed (make test-clients)"
        # Docker's daemon is the only one that `make test` does not install.
        if os.environ.get("CI") and program != "dockerd":
            pytest.fail(missing)
        pytest.skip(missing)
    if os.geteuid():
        pytest.skip(f"{program} needs root")
