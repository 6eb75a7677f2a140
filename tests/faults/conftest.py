"""Fixtures of this room."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import trustme

pytest.register_assert_rewrite(
    "tests.faults.rig",
    "tests.faults.commands",
    "tests.faults.load_rig",
    "tests.faults.mirror_rig",
    "tests.faults.rows_registry",
)

from hangar_async.testing.images import image, index, layer  # noqa: E402
from tests.engine.forms import pack_as_hangar  # noqa: E402
from tests.fakes.images import AMD64  # noqa: E402
from tests.fakes.names import Names  # noqa: E402
from tests.fakes.registry import FakeRegistry, fake_registry  # noqa: E402
from tests.faults.commands import Scene as CommandScene, add_images, make_shared  # noqa: E402
from tests.faults.load_rig import Scene, save_both  # noqa: E402
from tests.faults.mirror_rig import Scene as MirrorScene  # noqa: E402
from tests.faults.mounts import mounting  # noqa: E402


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def one_image() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as found:
        found.add("a:1", index([image([layer({"a": random.Random(1).randbytes(900_000)}, "none")], AMD64)]))
        yield found


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images, saved: as `all.tar.gz`, as the directory `cache`, and as an archive without index."""
    place = tmp_path_factory.mktemp("both")
    asyncio.run(save_both(place))
    (place / "plain").mkdir()
    pack_as_hangar(place / "cache", place / "plain" / "all.tar.gz")
    return place


@pytest.fixture(params=["all.tar.gz", "plain/all.tar.gz", "cache"], ids=["index", "stream", "directory"])
def scene(request: pytest.FixtureRequest, both: Path, pushable_registry: FakeRegistry, tmp_path: Path) -> Scene:
    """The registry, and what is loaded into it, from each kind of source."""
    return Scene(pushable_registry, both / request.param, tmp_path)


@pytest.fixture
def indexed_scene(both: Path, pushable_registry: FakeRegistry, tmp_path: Path) -> Scene:
    return Scene(pushable_registry, both / "all.tar.gz", tmp_path)


@pytest.fixture(params=["index", "directory"])
async def own_scene(request: pytest.FixtureRequest, pushable_registry: FakeRegistry, tmp_path: Path) -> Scene:
    """As `scene`, of a source that may be changed."""
    place = tmp_path / "own"
    place.mkdir()
    await save_both(place)
    return Scene(pushable_registry, place / ("cache" if request.param == "directory" else "all.tar.gz"), tmp_path)


@pytest.fixture
async def streamed_scene(pushable_registry: FakeRegistry, tmp_path: Path) -> Scene:
    """As `own_scene`, of a cache that becomes an archive without index when `pack_as_hangar` makes it one."""
    place = tmp_path / "own"
    (place / "plain").mkdir(parents=True)
    await save_both(place)
    return Scene(pushable_registry, place / "plain" / "all.tar.gz", tmp_path)


@pytest.fixture
async def command_scene(pushable_registry: FakeRegistry, tmp_path: Path) -> CommandScene:
    """A directory to work in, which is not there yet, and what the commands read."""
    add_images(pushable_registry)
    found = CommandScene(tmp_path / "place", pushable_registry.address, tmp_path / "shared")
    await make_shared(found)
    return found


@pytest.fixture
def file_system(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes and mounts a file system of a kind."""
    with mounting(tmp_path) as mount:
        yield mount


@pytest.fixture
def mirror_scene(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> MirrorScene:
    """A source, and a target that is empty."""
    return MirrorScene(fake_registry, pushable_registry)


@pytest.fixture
async def other_registry() -> AsyncIterator[FakeRegistry]:
    """One more source."""
    async with fake_registry() as registry:
        yield registry


@pytest.fixture
async def other_target() -> AsyncIterator[FakeRegistry]:
    """One more target."""
    async with fake_registry(pushable=True) as registry:
        yield registry
