"""Archives and cache directories of two small images, made once, for the commands that read them."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

from hangar_async.config.environment import Environment
from hangar_async.config.options import CompressOptions, SaveOptions
from hangar_async.config.output import OutputSettings
from hangar_async.engine.compress import compress
from hangar_async.engine.save import save
from hangar_async.layout.files import (
    BLOBS,
    CACHE_NAME,
    EPOCH,
    INDEX_NAME,
    MARKER_NAME,
    blob_name,
    cache_files,
    folder_files,
    folder_names,
)
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image, ImagePlatform
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.testing.images import image, layer
from tests.cli.site import AMD64, open_site

PART = 100_000
#: So large that no run gets through it before a signal does.
HUGE = 4 << 30


@dataclass(frozen=True)
class Shelf:
    """`plain.tar.gz`, `plain.tar.zstd`, `split.tar.gz.part0` to `.part3`, `foreign.tar.gz` and the cache."""

    home: Path
    address: str

    @property
    def images(self) -> list[str]:
        return [f"{self.address}/team/one:1", f"{self.address}/two:2"]

    def copy(self, pattern: str, place: Path) -> Path:
        """Copy what matches to where it may be broken."""
        for path in self.home.glob(pattern):
            if path.is_dir():
                shutil.copytree(path, place / path.name, symlinks=True)
            else:
                shutil.copy(path, place)
        return place


async def make_shelf(home: Path) -> Shelf:
    async with open_site(home) as site:
        lines = [f"{site.address}/{name}" for name in ("team/one:1", "two:2")]
        cache = home / CACHE_NAME
        report = await save(
            SaveOptions(
                images=lines,
                destination=home / "plain.tar.gz",
                cache=cache,
                failed=None,
                environment=Environment(),
                sync=False,
            )
        )
        assert report.status == 0
        for name, part_size in (("plain.tar.zstd", None), ("split.tar.gz", PART)):
            format_ = "zstd" if name.endswith("zstd") else "gzip"
            output = OutputSettings(target=home / name, format=format_, part_size=part_size, sync=False)
            assert (await compress(CompressOptions(cache=cache, output=output))).status == 0
        make_foreign(cache, home / "foreign.tar.gz")
        (home / "list.txt").unlink()
        return Shelf(home, site.address)


def make_foreign(cache: Path, target: Path) -> None:
    """Pack a cache as Hangar does: without the files that are ours alone."""
    ours = {cache / INDEX_NAME, cache / MARKER_NAME, cache / BLOBS}
    with tarfile.open(target, "w:gz", compresslevel=1) as tar:
        for path in sorted(cache.rglob("*")):
            name = path.relative_to(cache.parent)
            if path not in ours and not any(part.startswith(".") for part in name.parts):
                tar.add(path, str(name), recursive=False)


def huge_cache(cache: Path) -> str:
    """Make a cache whose one image has a layer of 4 GiB without content; returns its name."""
    built = image([layer({"a": b"1"})], AMD64)
    false = Digest("sha256", "0" * 64)
    manifest = json.loads(built.raw)
    manifest["layers"][0] |= {"digest": str(false), "size": HUGE}
    raw = json.dumps(manifest).encode()
    root = Descriptor(built.media_type, Digest.of(raw), len(raw))
    name = "registry.example.com/huge:1"
    reference = Reference.parse(name)
    [folder] = folder_names(reference, [(root.digest, AMD64)])
    platform = ImagePlatform(replace(root, platform=AMD64), folder)
    files = cache_files([Image(reference, root, (platform,))], EPOCH)
    files |= folder_files(platform)
    files |= {blob_name(digest): data for digest, data in built.blobs.items()}
    files[blob_name(root.digest)] = raw
    files[blob_name(false)] = b""
    for file, data in files.items():
        (cache / file).parent.mkdir(parents=True, exist_ok=True)
        (cache / file).write_bytes(data)
    os.truncate(cache / blob_name(false), HUGE)
    return name
