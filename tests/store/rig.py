"""One blob, and a way to take it into a store."""

from __future__ import annotations

import os

from hangar_async.oci.digest import Digest
from hangar_async.store.content import PARTIALS, ContentStore

DATA = b"layer" * 1000
DIGEST = Digest.of(DATA)


async def take_in(
    store: ContentStore, data: bytes = DATA, digest: Digest | None = None, size: int | None = None
) -> None:
    async with store.ingest(digest or Digest.of(data), len(data) if size is None else size) as ingest:
        for start in range(0, len(data), 1024):
            await ingest.write(data[start : start + 1024])
        await ingest.commit()


def partials(store: ContentStore) -> list[str]:
    return os.listdir(store.root / PARTIALS)


NAMES = frozenset({"share/sha256/one", "f1/oci-layout", "f1/index.json", "oci-layout", "index.json"})
