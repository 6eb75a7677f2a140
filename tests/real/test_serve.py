"""Real clients pull what is served: skopeo, containerd, podman; and a browser shows the page."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hangar_async.config.options import CompressOptions
from hangar_async.config.output import OutputSettings
from hangar_async.engine.compress import compress
from tests.engine.made import make_layout
from tests.engine.served import Client, Site, served
from tests.fakes.engines import Podman, containerd
from tests.fakes.programs import run
from tests.fakes.skopeo import Skopeo, check_directory

REF = "org.opencontainers.image.ref.name"
#: skopeo has no nested indexes, and fetches foreign layers.
LEFT_OUT = ("docker.io/library/nginx:mainline", "ghcr.io/team/foreign:1")
#: The name of one is another's, so that it is pulled with its registry.
SHARED = "quay.io/library/nginx:1.27"
FORMS = ("gzip", "zstd", "cache", "layout")


def needs(program: str, *, root: bool = False) -> None:
    """Skip a test without a program that no command of ours installs."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    if root and os.geteuid() != 0:
        pytest.skip(f"{program} needs root")


async def source(site: Site, tmp_path: Path, form: str) -> Path:
    """The images in one of the forms."""
    if form == "gzip":
        return site.archive
    if form == "zstd":
        output = OutputSettings(target=tmp_path / "all.tar.zstd", format="zstd", part_size=300_000, sync=False)
        assert (await compress(CompressOptions(cache=site.cache, output=output))).status == 0
        return output.target
    if form == "cache":
        return site.cache
    entries = ((built, {REF: name}) for name, built in site.built.items())
    return await asyncio.to_thread(make_layout, tmp_path / "images", entries)


def pulled(name: str) -> str:
    """The names that an image is pulled by, after the server's address."""
    return name if name == SHARED else name.partition("/")[2]


@pytest.mark.parametrize("form", FORMS)
async def test_skopeo_copies_every_image(site: Site, skopeo: Skopeo, tmp_path: Path, form: str) -> None:
    async with served(await source(site, tmp_path, form)) as client:
        for number, (name, built) in enumerate(site.built.items()):
            if name in LEFT_OUT:
                continue
            image = f"docker://{client.served.address}/{pulled(name)}"
            assert (await skopeo("inspect", "--raw", "--tls-verify=false", image)).encode() == built.raw
            directory = tmp_path / f"{number}"
            await skopeo("copy", "--all", "--preserve-digests", "--src-tls-verify=false", image, f"dir:{directory}")
            await asyncio.to_thread(check_directory, directory, built)
    assert not [text for text in client.notices if "docker.io/library/nginx:1.27" not in text]


async def test_skopeo_lists_tags_and_copies_by_digest(site: Site, skopeo: Skopeo, tmp_path: Path) -> None:
    async with served(site.archive) as client:
        repository = f"docker://{client.served.address}/library/nginx"
        listed = await skopeo("list-tags", "--tls-verify=false", repository)
        assert '"1.26",' in listed
        built = site.built[SHARED]
        image = f"{repository}@{built.digest}"
        await skopeo("copy", "--all", "--src-tls-verify=false", image, f"dir:{tmp_path / 'out'}")
        await asyncio.to_thread(check_directory, tmp_path / "out", built)


@pytest.mark.extra
async def test_containerd_pulls_from_its_mirror(site: Site, tmp_path: Path) -> None:
    """Images of every registry under their own names; of two that share one, each is the right one."""
    needs("containerd", root=True)
    home = tmp_path / "c"
    home.mkdir()
    async with served(site.archive) as client, containerd(home, client.served.address) as engine:
        for name in ("docker.io/library/nginx:1.27", SHARED, "docker.io/library/nginx:latest", "ghcr.io/team/docker:1"):
            assert await engine.pull(name) == str(site.built[name].digest)


@pytest.mark.extra
async def test_podman_pulls_from_its_mirror(site: Site) -> None:
    needs("podman", root=True)
    # It takes no long names for what it keeps while it runs.
    with TemporaryDirectory(prefix="p-") as home:
        await _podman(site, Path(home))


async def _podman(site: Site, home: Path) -> None:
    async with served(site.archive) as client:
        engine = Podman(home, client.served.address)
        for name in ("docker.io/library/nginx:1.27", f"{client.served.address}/{SHARED}"):
            built = site.built["docker.io/library/nginx:1.27" if name.startswith("docker.io") else SHARED]
            assert await engine.pull(name) == str(built.digest)


@pytest.mark.extra
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["screen", "phone"])
async def test_a_browser_shows_the_page(site: Site, tmp_path: Path, width: int, height: int) -> None:
    needs("chromium")
    picture = tmp_path / "page.png"
    async with served(site.archive) as client:
        await _chromium(tmp_path, client, f"--window-size={width},{height}", f"--screenshot={picture}")
        text = await _chromium(tmp_path, client, "--dump-dom")
    assert f"docker pull {client.served.address}/library/nginx:1.27" in text
    # The policy of the page lets its script run.
    assert f'aria-label="Copy docker pull {client.served.address}/library/nginx:1.27"' in text
    assert '<section id="tools">' in text
    # Something is drawn, in more than a few colours: letters have soft edges.
    assert len(set(await asyncio.to_thread(rows, picture))) > 50


async def _chromium(tmp_path: Path, client: Client, *words: str) -> str:
    # Neither a network nor what it does by itself at a start is wanted.
    quiet = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
    return await run(
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        *quiet,
        f"--user-data-dir={tmp_path / 'profile'}",
        *words,
        f"{client.served.url}/",
        env={"HOME": str(tmp_path)},
    )


def rows(picture: Path) -> list[bytes]:
    """The rows of a PNG (ISO/IEC 15948), as they lie in it."""
    data = picture.read_bytes()
    width, _, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert depth == 8
    size = 1 + width * {2: 3, 6: 4}[kind]
    packed, place = b"", 8
    while place < len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        packed += data[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        place += 12 + length
    pixels = zlib.decompress(packed)
    return [pixels[start : start + size] for start in range(0, len(pixels), size)]
