"""One blob, and a way to take it into a store."""

from __future__ import annotations

import os
from pathlib import Path

from hangar_async.oci.digest import Digest
from hangar_async.store.content import ContentStore
from hangar_async.store.directory import PARTIALS

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


def fill_cache(home: Path) -> Path:
    """Make a cache with the files of `NAMES` and those of other runs."""
    root = home / "saved-image-cache"
    for name in [*NAMES, "share/sha256/stranger", "f0/index.json", ".lock", ".partial/x"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "f1" / "blobs").mkdir()
    (root / "blobs").symlink_to("share")
    return root
