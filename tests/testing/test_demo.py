from __future__ import annotations

from hangar_async.imagelist import parse
from hangar_async.oci.manifest import Index, parse_manifest
from hangar_async.testing.demo import AMD64, ARM64, ARM_V7, WINDOWS, demo_content


async def test_the_demo_shows_every_kind() -> None:
    content, names = demo_content()
    assert len(parse(f"127.0.0.1:5000/{name}" for name in names).entries) == len(names) == 6
    platforms, attested, artifacts, blobs = set(), 0, 0, set()
    uses = 0
    for name in names:
        repository, _, tag = name.partition(":")
        assert await content.tags(repository) == [tag]
        root = await content.resolve(repository, tag)
        assert root is not None
        waiting = [root]
        while waiting:
            found = waiting.pop()
            raw = b"".join([bytes(piece) async for piece in content.read(found.digest, 0, found.size)])
            document = parse_manifest(raw, found.media_type)
            if isinstance(document, Index):
                waiting += document.manifests
                platforms |= {entry.platform for entry in document.manifests}
                attested += sum(entry.attests is not None for entry in document.manifests)
                continue
            artifacts += not document.is_image
            for blob in (document.config, *document.layers):
                assert await content.size(repository, blob.digest) == blob.size
                blobs.add((blob.digest, blob.size))
                uses += 1
    assert platforms >= {AMD64, ARM64, ARM_V7, WINDOWS}
    assert (attested, artifacts) == (2, 1)
    # Bases are shared, and it is a few MB in all: enough for several parts.
    assert uses > len(blobs) + 5
    assert 3 << 20 < sum(size for _, size in blobs) < 10 << 20


async def test_the_demo_is_the_same_each_time() -> None:
    digests = []
    for _ in range(2):
        content, names = demo_content()
        found = [await content.resolve(*name.split(":")) for name in names]
        digests.append([one.digest for one in found if one is not None])
    assert digests[0] == digests[1]
