import json
import os
from datetime import UTC, datetime
from pathlib import Path

from hangar_async.disk import Disk
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image, ImagePlatform
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.media_types import OCI_MANIFEST
from hangar_async.oci.platform import Platform
from hangar_async.oci.reference import Reference
from hangar_async.store.content import open_store, write_cache, write_image

PLATFORM = Platform("linux", "amd64")
DESCRIPTOR = Descriptor(OCI_MANIFEST, Digest.of(b"m"), 1, PLATFORM)
IMAGE = Image(Reference.parse("a:1"), DESCRIPTOR, (ImagePlatform(DESCRIPTOR, "e" * 64),))
WHEN = datetime(2024, 1, 1, tzinfo=UTC)


async def test_an_image_has_a_layout_of_its_own(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await write_image(store, IMAGE)
    folder = tmp_path / ("e" * 64)
    assert sorted(os.listdir(folder)) == ["blobs", "index.json", "oci-layout"]
    assert os.listdir(folder / "blobs") == []
    assert json.loads((folder / "index.json").read_text())["manifests"][0]["digest"] == str(DESCRIPTOR.digest)


async def test_the_cache_names_the_images_of_this_run_and_no_others(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        assert await write_cache(store, [IMAGE], WHEN)
        assert await write_cache(store, [], WHEN)
        assert await write_cache(store, [IMAGE], WHEN)
    assert os.readlink(tmp_path / "blobs") == "share"
    assert len(json.loads((tmp_path / "saved-images-list.json").read_text())["List"]) == 1
    assert len(json.loads((tmp_path / "index.json").read_text())["manifests"]) == 1


class Linkless(Disk):
    """A file system without symbolic links, such as FAT."""

    def link(self, path: Path, target: str) -> bool:
        return False


async def test_a_file_system_without_links_is_told(tmp_path: Path) -> None:
    async with open_store(tmp_path, Linkless()) as store:
        assert not await write_cache(store, [IMAGE], WHEN)
    assert (tmp_path / "saved-images-list.json").exists()
