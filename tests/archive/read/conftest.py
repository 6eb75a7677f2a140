"""Fixtures of the reader."""

import pytest

from hangar_async.archive.read.archive import Archive, open_archive
from tests.archive.samples import BLOBS, KINDS, write


@pytest.fixture(scope="session", params=[(kind, size) for kind in KINDS for size in (None, 100_000, 9_999)], ids=str)
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """An archive of BLOBS in either format, as one file and in parts."""
    kind, part_size = request.param
    directory = tmp_path_factory.mktemp("archive")
    write(directory / "a", kind, BLOBS, part_size=part_size)
    return open_archive(directory / "a.part0" if part_size else directory / "a")
