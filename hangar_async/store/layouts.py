"""OCI layouts over the content store: one a platform, and the cache as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from hangar_async.blocking import in_thread
from hangar_async.disk import Disk
from hangar_async.oci import layout
from hangar_async.oci.layout import SavedImage
from hangar_async.store.content import ContentStore


async def write_image(store: ContentStore, image: SavedImage) -> None:
    """Write the folders of an image whose blobs are in the store; raises StorageError."""
    for platform in image.platforms:
        await in_thread(_write_folder, store.disk, store.root, platform.folder, layout.folder_files(platform))


async def write_cache(store: ContentStore, images: Sequence[SavedImage], saved: datetime) -> bool:
    """Write the index files that name these images and no others, the list of Hangar's last.

    Returns False when the file system has no links, so that there is no `blobs` beside `index.json`.
    """
    return await in_thread(_write_cache, store.disk, store.root, layout.cache_files(images, saved))


def _write_folder(disk: Disk, root: Path, folder: str, files: Mapping[str, bytes]) -> None:
    disk.make_directory(root / folder / layout.BLOBS)
    for name, data in files.items():
        disk.write_file(root / name, data)


def _write_cache(disk: Disk, root: Path, files: Mapping[str, bytes]) -> bool:
    linked = disk.link(root / layout.BLOBS, layout.SHARE)
    for name, data in files.items():
        disk.write_file(root / name, data)
    return linked
