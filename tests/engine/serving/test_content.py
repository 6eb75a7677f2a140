"""What is held, as a registry's content."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from hangar_async.engine.open_layout import seekable_layout_at
from hangar_async.engine.serving.buffers import SMALL
from hangar_async.engine.serving.content import LayoutContent, read_repositories
from hangar_async.engine.serving.reader import BlobReader
from hangar_async.errors import DigestMismatch
from hangar_async.layout.files import blob_name
from hangar_async.layout.images import read_images
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import Built, image, layer
from tests.engine.made import make_cache
from tests.engine.rig import AMD64, small


def content_of(path: Path) -> LayoutContent:
    layout = seekable_layout_at(path)
    return LayoutContent(read_repositories(read_images(layout), layout.sizes()), BlobReader(layout))


@pytest.fixture
def long() -> Built:
    """An image whose manifest takes several pieces."""
    return image([layer({f"{number}": b""}) for number in range(1000)], AMD64)


@pytest.fixture
async def content(tmp_path: Path, long: Built) -> AsyncIterator[LayoutContent]:
    names = {"docker.io/long:1": long, "reg.io:5000/app:1": small("app")}
    await asyncio.to_thread(make_cache, tmp_path / "cache", names)
    found = await asyncio.to_thread(content_of, tmp_path / "cache")
    with closing(found._blobs):
        yield found


async def joined(content: LayoutContent, digest: Digest, start: int, stop: int) -> bytes:
    return b"".join([bytes(piece) async for piece in content.read(digest, start, stop)])


async def test_names_that_are_listed_are_names(content: LayoutContent) -> None:
    assert list(await content.repositories()) == ["app", "docker.io/library/long", "library/long", "reg.io_5000/app"]
    assert await content.tags("reg.io:5000/app") == ["1"]
    assert await content.tags("none") is None
    assert await content.resolve("none", "1") is None
    assert await content.size("none", Digest.of(b"")) is None
    assert await content.referrers("none", Digest.of(b"")) == []


async def test_one_registry(content: LayoutContent) -> None:
    found = content.of_registry("reg.io:5000")
    assert found is not None
    assert list(await found.repositories()) == ["app"]
    assert await found.tags("library/long") is None
    again = found.of_registry("docker.io")
    assert again is not None
    assert list(await again.repositories()) == ["library/long"]
    assert content.of_registry("other.io") is None


async def test_a_long_manifest_is_checked_before_any_of_it_is_sent(
    content: LayoutContent, long: Built, tmp_path: Path
) -> None:
    size = len(long.raw)
    assert size > 2 * SMALL
    for start in (0, 5, size - 10):
        assert await joined(content, long.digest, start, size) == long.raw[start:]
    path = tmp_path / "cache" / blob_name(long.digest)
    path.write_bytes(long.raw[:-1] + b" ")
    for start in (0, 5, size - 10):
        with pytest.raises(DigestMismatch):
            await anext(content.read(long.digest, start, size))
