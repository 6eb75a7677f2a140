"""`-` is what comes through a pipe, whatever takes it."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hangar_async.config.options import ExtractOptions, ListOptions, VerifyOptions
from hangar_async.engine.extract import extract
from hangar_async.engine.ls import ls
from hangar_async.engine.standard_input import STANDARD_INPUT, source_path
from hangar_async.engine.verify import verify
from hangar_async.errors import ArchiveError, UsageError
from tests.engine.loading import run_load, run_validate, tagged
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry
from tests.fakes.sources import COMPRESSIONS, NAME, named_oci, oci, tar

BUILT = small("app")


@contextmanager
def piped(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let standard input be a pipe that this comes through."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as end:
            end.write(data)

    thread = threading.Thread(target=write)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize("compression", COMPRESSIONS)
async def test_every_verb_reads_it(
    compression: str, pushable_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = COMPRESSIONS[compression](tar(named_oci(BUILT)))
    with piped(data, monkeypatch):
        listing = await ls(ListOptions(STANDARD_INPUT))
    assert ([one.name for one in listing.images], listing.path) == ([NAME], STANDARD_INPUT)
    with piped(data, monkeypatch):
        assert (await verify(VerifyOptions(STANDARD_INPUT))).problems == ()
    with piped(data, monkeypatch):
        assert (await run_load(tmp_path, STANDARD_INPUT, pushable_registry)).status == 0
    with piped(data, monkeypatch):
        assert (await run_validate(tmp_path, STANDARD_INPUT, pushable_registry)).status == 0
    with piped(data, monkeypatch):
        await extract(ExtractOptions(source=STANDARD_INPUT, image=NAME, destination=tmp_path / "out"))
    assert await tagged(pushable_registry.content, "team/app:1") == BUILT.digest
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


async def test_an_image_without_a_name_needs_one(
    pushable_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tar(oci([(BUILT, {})]))
    with piped(data, monkeypatch), pytest.raises(UsageError, match="standard input gives it none: write --name"):
        await run_load(tmp_path, STANDARD_INPUT, pushable_registry)
    with piped(data, monkeypatch):
        await run_load(tmp_path, STANDARD_INPUT, pushable_registry, name="team/app:1")
    assert await tagged(pushable_registry.content, "team/app:1") == BUILT.digest


async def test_an_input_that_is_empty_or_closed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with piped(b"", monkeypatch), pytest.raises(UsageError, match="is empty"):
        async with source_path(STANDARD_INPUT, tmp_path):
            pass
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stdin", closed)
    with pytest.raises(UsageError, match="is closed"):
        async with source_path(STANDARD_INPUT, tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"no archive", tar(oci([(BUILT, {})]))[:700], COMPRESSIONS["gzip"](b"no tar")])
async def test_what_is_wrong_with_it_is_told_of_standard_input(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary copy has a name that nobody gave, and is gone."""
    with piped(data, monkeypatch), pytest.raises(ArchiveError, match=r"^standard input(:| is no archive)") as raised:
        await ls(ListOptions(STANDARD_INPUT))
    assert raised.value.path == "standard input"
    with piped(data, monkeypatch):
        problems = (await verify(VerifyOptions(STANDARD_INPUT))).problems
    assert [problem.split(":")[0].split(" is")[0] for problem in problems] == ["standard input"]


async def test_any_other_path_is_itself(tmp_path: Path) -> None:
    async with source_path(tmp_path) as path:
        assert path == tmp_path
