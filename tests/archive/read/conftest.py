"""Fixtures of the reader."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from hangar_async.archive.read.archive import Archive, open_archive
from hangar_async.archive.read.search import find_volume
from hangar_async.archive.read.volume import Volume
from tests.archive.read.rig import DATA, LAYOUT_BLOBS, PIECEWISE
from tests.archive.samples import (
    BLOBS,
    KINDS,
    contents,
    joined,
    unpacked,
    write,
)


@pytest.fixture(scope="session", params=[(kind, size) for kind in KINDS for size in (None, 100_000, 9_999)], ids=str)
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """An archive of BLOBS in either format, as one file and in parts."""
    kind, part_size = request.param
    directory = tmp_path_factory.mktemp("archive")
    write(directory / "a", kind, BLOBS, part_size=part_size)
    return open_archive(directory / "a.part0" if part_size else directory / "a")


@pytest.fixture(scope="module")
def piecewise(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Archive]:
    """Archives of one blob of several pieces, in either format; of gzip one without pieces in its index too."""
    directory = tmp_path_factory.mktemp("pieces")
    for kind in KINDS:
        write(directory / kind, kind, [PIECEWISE], part_size=100_000, sync=False)
    found = {kind: open_archive(directory / kind) for kind in KINDS}
    found["earlier"] = open_archive(directory / "gzip")
    found["earlier"].entries = {name: replace(entry, pieces=()) for name, entry in found["gzip"].entries.items()}
    return found


@pytest.fixture
def archive_path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An archive of LAYOUT_BLOBS; a plain one is packed again, without index and footer."""
    kind = request.param.removeprefix("plain-")
    written = write(tmp_path / "x.tar", kind, LAYOUT_BLOBS, part_size=400_000, sync=False)
    if request.param == kind:
        return tmp_path / "x.tar"
    files = contents(unpacked(joined(written)))
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:") as tar:
        for name, data in files.items():
            if not name.endswith("archive-index.json"):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    raw = plain.getvalue()
    packed = gzip.compress(raw, 1) if kind == "gzip" else zstandard.ZstdCompressor().compress(raw)
    (tmp_path / "plain.tar").write_bytes(packed)
    return tmp_path / "plain.tar"


@pytest.fixture(scope="module", params=[1, 7, 250, 999, 1000])
def volume(request: pytest.FixtureRequest) -> Iterator[Volume]:
    size: int = request.param
    with tempfile.TemporaryDirectory() as directory:
        for number, start in enumerate(range(0, len(DATA), size)):
            Path(directory, f"a.part{number}").write_bytes(DATA[start : start + size])
        yield find_volume(Path(directory, "a"))
