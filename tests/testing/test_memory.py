from __future__ import annotations

from collections.abc import Mapping

import pytest

from hangar_async.errors import InvalidValue
from hangar_async.oci.digest import Digest
from hangar_async.oci.media_types import OCI_MANIFEST
from hangar_async.server.content import PIECE
from hangar_async.testing.images import Built
from hangar_async.testing.memory import MemoryContent


async def whole(content: MemoryContent, digest: Digest, start: int = 0, stop: int = 1 << 40) -> list[bytes]:
    return [bytes(piece) async for piece in content.read(digest, start, stop)]


async def test_a_built_image_is_there_with_all_that_it_needs(images: Mapping[str, Built]) -> None:
    content, built = MemoryContent(), images["nested"]
    assert content.add("team/app:1", built) == built.digest
    assert await content.repositories() == ["team/app"]
    assert await content.tags("team/app") == ["1"]
    found = await content.resolve("team/app", "1")
    assert found == await content.resolve("team/app", built.digest) == built.descriptor
    for digest, (media_type, raw) in built.documents.items():
        found = await content.resolve("team/app", digest)
        assert found is not None
        assert (found.media_type, found.size) == (media_type, len(raw))
        assert await whole(content, digest) == [raw]
    for digest, data in built.blobs.items():
        assert await content.size("team/app", digest) == len(data)
        assert b"".join(await whole(content, digest)) == data


async def test_what_is_not_there_is_none() -> None:
    content = MemoryContent()
    digest = content.add_blob("a", b"blob")
    manifest = content.add_manifest("a", b"{}", OCI_MANIFEST)
    assert await content.tags("b") is None
    assert await content.tags("a") == []
    assert await content.resolve("b", "1") is None
    assert await content.resolve("a", "1") is None
    # A blob is no manifest, a manifest no blob, and another repository's blob is not this one's.
    assert await content.resolve("a", digest) is None
    assert await content.size("a", manifest) is None
    assert await content.size("b", digest) is None


async def test_tags_move_and_go_with_their_manifest() -> None:
    content = MemoryContent()
    first = content.add_manifest("a", b"{}", OCI_MANIFEST, ["1", "latest"])
    second = content.add_manifest("a", b"{ }", OCI_MANIFEST)
    content.tag("a", "latest", second)
    found = await content.resolve("a", "latest")
    assert found is not None
    assert found.digest == second
    content.remove("a", first)
    assert await content.tags("a") == ["latest"]
    assert await content.resolve("a", first) is None
    with pytest.raises(InvalidValue, match="has no manifest"):
        content.tag("a", "2", first)


async def test_other_algorithms() -> None:
    content = MemoryContent()
    blob = content.add_blob("a", b"blob", "sha512")
    manifest = content.add_manifest("a", b"{}", OCI_MANIFEST, ["1"], "sha512")
    assert (blob.algorithm, manifest.algorithm) == ("sha512", "sha512")
    assert await content.size("a", blob) == 4
    assert await content.resolve("a", manifest) is not None


async def test_reading_is_in_pieces() -> None:
    content = MemoryContent()
    data = bytes(range(251)) * (3 * PIECE // 251)
    digest = content.add_blob("a", data)
    pieces = await whole(content, digest)
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) == PIECE
    assert b"".join(await whole(content, digest, 5, PIECE + 9)) == data[5 : PIECE + 9]
    assert await whole(content, content.add_blob("a", b"")) == []
