"""Fixtures of this room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from hangar_async.engine.open_layout import seekable_layout_at
from hangar_async.engine.serving.content import (
    LayoutContent,
    read_repositories,
)
from hangar_async.engine.serving.reader import BlobReader
from hangar_async.layout.files import blob_name
from hangar_async.layout.images import read_images
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import Built, image, layer
from tests.engine.made import make_cache
from tests.engine.serving.rig import DATA, SHORT, SHORT_DIGEST, put
from tests.fakes.images import AMD64, small


def content_of(path: Path) -> LayoutContent:
    layout = seekable_layout_at(path)
    return LayoutContent(read_repositories(read_images(layout), layout.sizes()), BlobReader(layout))


@pytest.fixture
def long_image() -> Built:
    """An image whose manifest takes several pieces."""
    return image([layer({f"{number}": b""}) for number in range(1000)], AMD64)


@pytest.fixture
async def layout_content(tmp_path: Path, long_image: Built) -> AsyncIterator[LayoutContent]:
    names = {"docker.io/long:1": long_image, "reg.io:5000/app:1": small("app")}
    await asyncio.to_thread(make_cache, tmp_path / "cache", names)
    found = await asyncio.to_thread(content_of, tmp_path / "cache")
    with closing(found._blobs):
        yield found


@pytest.fixture
def blob_directory(tmp_path: Path) -> Path:
    path = tmp_path / blob_name(SHORT_DIGEST)
    path.parent.mkdir(parents=True)
    path.write_bytes(SHORT)
    return tmp_path


@pytest.fixture
def reader_directory(tmp_path: Path) -> Path:
    """A directory with one large blob."""
    put(tmp_path, DATA)
    return tmp_path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is hashed."""
    sizes: list[int] = []
    hasher = Digest.hasher

    class Noting:
        def __init__(self, digest: Digest) -> None:
            self._hasher = hasher(digest)

        def update(self, data: memoryview) -> None:
            sizes.append(len(data))
            self._hasher.update(data)

        def hexdigest(self) -> str:
            return self._hasher.hexdigest()

    def noting(digest: Digest) -> Noting:
        return Noting(digest)

    monkeypatch.setattr(Digest, "hasher", noting)
    return sizes
