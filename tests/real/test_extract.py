"""What `extract` writes, read by a real client."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.options import ExtractOptions
from hangar_async.engine.extract import extract
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import Built
from tests.fakes.skopeo import Skopeo

#: The image, and the platform where it has several.
ALONE = [
    ("oci", None), ("docker", None), ("zstd", None), ("plain", None), ("empty", None), ("multi", "arm64"),
    ("docker-list", "amd64"), ("attested", "arm64"), ("nested", "arm/v7"), ("no-platform", "amd64"),
    ("windows", "linux/amd64"),
]  # fmt: skip


async def taken(saved: tuple[Path, str], image: str, target: Path, **keywords: Any) -> None:
    source, address = saved
    await extract(ExtractOptions(source=source, image=f"{address}/{image}:1", destination=target, **keywords))


async def test_each_layout_is_read_by_skopeo(
    saved: tuple[Path, str], images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    for name, built in images.items():
        target = tmp_path / "layouts" / name
        target.parent.mkdir(exist_ok=True)
        await taken(saved, name, target)
        if not built.media_type.startswith("application/vnd.docker.distribution.manifest.list"):
            # Debian's takes no list of Docker's from a layout.
            assert await skopeo("inspect", "--raw", f"oci:{target}") == built.raw.decode()
    for name in ("multi", "attested"):
        target = tmp_path / "copies" / name
        target.parent.mkdir(exist_ok=True)
        await skopeo("copy", "--all", f"oci:{tmp_path / 'layouts' / name}", f"dir:{target}")
        assert (target / "manifest.json").read_bytes() == images[name].raw


@pytest.mark.parametrize(("name", "platform"), ALONE)
async def test_a_platform_alone_is_read_by_skopeo(
    saved: tuple[Path, str], images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path, name: str, platform: str
) -> None:
    await taken(saved, name, tmp_path / "layout", platform=platform)
    raw = (await skopeo("inspect", "--raw", f"oci:{tmp_path / 'layout'}")).encode()
    assert Digest.of(raw) in images[name].documents
    await taken(saved, name, tmp_path / "x.tar", platform=platform, format="docker-archive")
    manifest = json.loads(raw)
    # By its name, and what is in it: skopeo unpacks the layers, as docker load does.
    reference = f"docker-archive:{tmp_path / 'x.tar'}:{saved[1]}/{name}:1"
    await skopeo("copy", reference, f"dir:{tmp_path / 'dir'}")
    config = json.loads(await skopeo("inspect", "--config", "--raw", reference))
    assert config == json.loads(images[name].blobs[Digest.parse(manifest["config"]["digest"])])
    copied = json.loads((tmp_path / "dir" / "manifest.json").read_text())
    assert len(copied["layers"]) == len(manifest["layers"])
    with tarfile.open(tmp_path / "x.tar") as tar:
        names = [f"{layer['digest'][7:]}.tar" for layer in manifest["layers"]]
        assert {*names, "manifest.json"} <= set(tar.getnames())
    digests = [f"sha256:{path.name}" for path in (tmp_path / "dir").iterdir() if len(path.name) == 64]
    assert set(config["rootfs"]["diff_ids"]) <= {*digests, *unpacked(tmp_path / "dir")}


def unpacked(directory: Path) -> list[str]:
    """The digests of what the layers of a directory of skopeo's hold."""
    layers = [path.read_bytes() for path in directory.iterdir()]
    return [str(Digest.of(gzip.decompress(data))) for data in layers if data.startswith(b"\x1f\x8b")]
