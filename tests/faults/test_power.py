"""Power is lost at any operation: an old or the new output is whole, and the next run makes all as it should be."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hangar_async.config.options import DecompressOptions, ExtractOptions, VerifyOptions
from hangar_async.disk import Disk
from hangar_async.engine.compress import decompress
from hangar_async.engine.extract import extract
from hangar_async.engine.save import save
from hangar_async.engine.verify import verify
from hangar_async.store.publish import PublishDirectory
from hangar_async.testing.images import image, layer
from tests.engine.forms import tree
from tests.engine.rig import options
from tests.fakes.images import AMD64, small
from tests.fakes.power import Recorder, Tree, build
from tests.fakes.registry import FakeRegistry
from tests.faults.rig import archive_content

State = dict[Path, bytes | str | None]


@dataclass
class Crashes:
    """States that crashes after the operations may leave; `each` of them for an operation."""

    each: int = int(os.environ.get("CRASHES", "1"))
    chosen: random.Random = field(default_factory=lambda: random.Random(11))
    states: list[tuple[str, State]] = field(default_factory=list)

    def __call__(self, now: Tree, operation: str) -> None:
        for _ in range(self.each):
            self.states.append((operation, now.crash(self.chosen)))


def outputs(place: Path, name: str) -> dict[str, bytes]:
    """The files of an archive, with its list of digests."""
    return {path.name: path.read_bytes() for path in place.glob(f"{name}*")}


def is_whole(found: Mapping[str, object], *wanted: Mapping[str, bytes]) -> bool:
    """Tell whether the archive is one of some, and its list of digests too, or not there yet."""
    lists = {one for files in wanted for name, one in files.items() if name.endswith(".sha256")}
    listed = {content for name, content in found.items() if name.endswith(".sha256")}
    archives = [
        {name: one for name, one in files.items() if not name.endswith(".sha256")} for files in (found, *wanted)
    ]
    return archives[0] in archives[1:] and listed <= lists


def leftovers(place: Path) -> list[str]:
    """Temporary names outside of the cache."""
    return [path.name for path in place.iterdir() if path.name.startswith(".")]


async def crash_states(
    place: Path, work: Callable[[Path], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, State]]:
    """Work in a directory, and return the states that a loss of power during the work may leave."""
    crashes = Crashes()
    with Recorder(place, crashes).recording(monkeypatch):
        await work(place)
    return crashes.states


async def unpack(place: Path) -> None:
    await decompress(DecompressOptions(archive=place.parent / "all.tar.gz", destination=place / "new"))


async def write_layout(place: Path) -> None:
    [name] = (await verify(VerifyOptions(place.parent / "all.tar.gz"))).images
    await extract(ExtractOptions(source=place.parent / "all.tar.gz", image=name.name, destination=place / "new"))


async def write_tar(place: Path) -> None:
    source = place.parent / "all.tar.gz"
    [name] = (await verify(VerifyOptions(source))).images
    wanted = ExtractOptions(source=source, image=name.name, destination=place / "new", format="docker-archive")
    await extract(wanted)


@pytest.mark.parametrize("work", [unpack, write_layout, write_tar])
async def test_a_new_output_is_whole_or_not_there(
    work: Callable[[Path], Awaitable[None]],
    fake_registry: FakeRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_registry.add("one:1", image([layer({"new": random.Random(3).randbytes(90_000)}, "none")], AMD64))
    source = {"format": "gzip", "destination": tmp_path / "all.tar.gz"}
    assert (await save(options(tmp_path, f"{fake_registry.address}/one:1", **source))).status == 0
    place = tmp_path / "place"
    place.mkdir()
    states = await crash_states(place, work, monkeypatch)
    expected = tree(place) or {"new": (place / "new").read_bytes()}
    assert len(states) > 8
    for number, (operation, state) in enumerate(states):
        again = tmp_path / f"again{number}"
        build(state, place, again)
        found = tree(again)
        assert found in ({}, expected), f"after {operation}"
        if not found:
            await work(again)
        assert tree(again) == expected, f"after {operation}"
        shutil.rmtree(again)


SAVES = {
    "gzip": {"format": "gzip", "destination": "out.tar.gz"},
    "zstd": {"format": "zstd", "destination": "out.tar.zstd"},
}


@pytest.mark.parametrize("form", SAVES)
@pytest.mark.parametrize("earlier", [True, False], ids=["over-an-archive", "first"])
async def test_a_save_leaves_the_old_or_the_new_archive(
    form: str, earlier: bool, fake_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_registry.add("old:1", small("old"))
    fake_registry.add("new:1", image([layer({"new": random.Random(3).randbytes(90_000)}, "none")], AMD64))
    name = SAVES[form]["destination"]

    async def run(place: Path, image_name: str) -> None:
        keywords = {**SAVES[form], "destination": place / name, "cache": place / "cache", "failed": None, "sync": True}
        report = await save(options(place, f"{fake_registry.address}/{image_name}:1", **keywords))
        assert report.status == 0

    place = tmp_path / "place"
    place.mkdir()
    if earlier:
        await run(place, "old")
    old = outputs(place, name)
    states = await crash_states(place, lambda place: run(place, "new"), monkeypatch)
    new = outputs(place, name)
    assert old != new
    assert len(states) > 40
    for number, (operation, state) in enumerate(states):
        again = tmp_path / f"again{number}"
        build(state, place, again)
        found = outputs(again, name)
        assert is_whole(found, old, new), f"after {operation}"
        await run(again, "new")
        assert outputs(again, name).keys() == new.keys(), f"after {operation}"
        assert archive_content(again / name) == archive_content(place / name), f"after {operation}"
        assert leftovers(again) == [], f"after {operation}"
        assert (await verify(VerifyOptions(again / name))).problems == ()
        shutil.rmtree(again)


@pytest.mark.parametrize("form", SAVES)
async def test_without_any_one_of_the_syncs_a_crash_could_lose_the_archive(
    form: str, fake_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator finds a bad state for each sync that is left out: it would find one that was forgotten."""
    fake_registry.add("old:1", small("old"))
    fake_registry.add("new:1", small("new"))
    name = SAVES[form]["destination"]

    async def run(place: Path, image_name: str) -> None:
        keywords = {
            **SAVES[form],
            "destination": place / name,
            "cache": tmp_path / "cache",
            "failed": None,
            "sync": True,
        }
        await save(options(place, f"{fake_registry.address}/{image_name}:1", **keywords))

    async def bad_states(number: int, skip: tuple[str, int] | None) -> tuple[int, dict[str, int]]:
        place = tmp_path / f"place{number}"
        place.mkdir()
        await run(place, "old")
        old, crashes = outputs(place, name), Crashes(each=8)
        recorder = Recorder(place, crashes, skip)
        with recorder.recording(monkeypatch):
            await run(place, "new")
        new = outputs(place, name)
        # A power loss after the end of the run as well.
        for _ in range(20):
            crashes(recorder.tree, "the end")
        bad = 0
        for operation, state in crashes.states:
            found = {path.name: content for path, content in state.items() if path.name.startswith(name)}
            bad += not is_whole(found, new) if operation == "the end" else not is_whole(found, old, new)
        return bad, recorder.counts

    bad, counts = await bad_states(0, None)
    assert bad == 0
    syncs = [(kind, number) for kind in ("sync", "sync_file") for number in range(1, counts.get(kind, 0) + 1)]
    assert syncs
    found = {skip: (await bad_states(number, skip))[0] for number, skip in enumerate(syncs, 1)}
    assert [skip for skip, bad in found.items() if not bad] == []


class OtherFileSystem(PublishDirectory):
    """A destination on another file system."""

    def _rename(self) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


@pytest.mark.parametrize("kind", [PublishDirectory, OtherFileSystem])
def test_a_cache_that_becomes_a_directory_is_whole_in_one_place(
    kind: type[PublishDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"index.json": b"index", "share/sha256/one": bytes(range(256)) * 40, "share/sha256/two": b"2"}
    place, chosen = tmp_path / "place", random.Random(5)
    for name, data in files.items():
        (place / "cache" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "cache" / name).write_bytes(data)
    crashes = Crashes(each=10, chosen=chosen)
    with Recorder(place, crashes).recording(monkeypatch):
        kind(place / "cache", place / "out", frozenset(files), Disk()).run()
    assert len(crashes.states) > 20
    for operation, state in crashes.states:
        whole = [
            all(state.get(place / directory / name) == data for name, data in files.items())
            for directory in ("cache", "out")
        ]
        assert any(whole), f"after {operation}"
