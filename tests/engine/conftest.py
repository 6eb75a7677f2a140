"""Fixtures of this room."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import trustme

from hangar_async.config.environment import Environment
from hangar_async.config.options import CompressOptions
from hangar_async.config.output import OutputSettings
from hangar_async.engine import serve as module
from hangar_async.engine.compress import compress
from hangar_async.engine.serving.buffers import LARGE
from hangar_async.engine.serving.reader import BlobReader
from hangar_async.server import listen
from hangar_async.testing.images import Layer, image, index, layer
from tests.engine.forms import Saved, make
from tests.engine.made import make_cache
from tests.engine.rig import BASE, run
from tests.engine.served import Client, Site, make_site, served
from tests.engine.signed import Signed
from tests.fakes.images import AMD64, ARM64, library, small
from tests.fakes.registry import FakeRegistry, fake_registry

PLAIN = layer({"plain": b"really compressible " * 20000}, "none")


@pytest.fixture
async def four_apps() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as found:
        for number in range(4):
            amd64 = small(f"app{number}", BASE, PLAIN)
            arm64 = small(f"app{number}-arm64", BASE, platform=ARM64)
            found.add(f"app{number}:1", index([amd64, arm64]))
        yield found


DAYS = ("2024-01-02T00:00:00Z", "2025-06-07T08:09:10Z", "2023-01-01T00:00:00Z", "2022-01-01T00:00:00Z")


@pytest.fixture
async def dated_apps() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as found:
        for number, day in enumerate(DAYS):
            amd64 = small(f"app{number}", BASE, created=day)
            found.add(f"app{number}:1", index([amd64, small(f"arm{number}", BASE, platform=ARM64)]))
        yield found


@pytest.fixture
async def two_images() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as found:
        found.add("app:v1", index([small("app", platform=one) for one in (AMD64, ARM64)]))
        found.add("other:v1", small("other"))
        yield found


@pytest.fixture
def keys(tmp_path: Path, server_certificate: trustme.LeafCert) -> dict[str, Path]:
    certificate, key, users = tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "htpasswd"
    certificate.write_bytes(b"".join(blob.bytes() for blob in server_certificate.cert_chain_pems))
    server_certificate.private_key_pem.write_to_path(key)
    users.write_bytes(b"one:" + bcrypt.hashpw(b"pass", bcrypt.gensalt(4)))
    return {"tls_cert": certificate, "tls_key": key, "htpasswd": users}


@pytest.fixture
async def large_cache(tmp_path: Path) -> tuple[Path, Layer]:
    """A cache with an image whose layer takes several pieces."""
    one = layer({"noise": os.urandom(3 * LARGE)})
    names = {"app:1": image([one], AMD64), "other:1": small("other")}
    return await asyncio.to_thread(make_cache, tmp_path / "cache", names), one


@pytest.fixture
def _tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel hold few bytes that no client takes: else it takes some MB for each client."""
    listening = listen._listen

    async def tight(*arguments: Any) -> list[socket.socket]:
        listeners = await listening(*arguments)
        for listener in listeners:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return listeners

    monkeypatch.setattr(listen, "_listen", tight)


@pytest.fixture
def blob_readers(monkeypatch: pytest.MonkeyPatch) -> list[BlobReader]:
    """The reader of the blobs of each server."""
    made: list[BlobReader] = []

    def make(*arguments: Any) -> BlobReader:
        made.append(BlobReader(*arguments))
        return made[-1]

    monkeypatch.setattr(module, "BlobReader", make)
    return made


@pytest.fixture(scope="module")
def small_archives(everything: Saved, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of one small image, to be changed anywhere."""
    place = tmp_path_factory.mktemp("small")
    root = place / "saved-image-cache"
    shutil.copytree(everything.at("dir"), root, symlinks=True)
    listed = json.loads((root / "saved-images-list.json").read_text())
    listed["List"] = [one for one in listed["List"] if one["Source"].endswith("/artifact")]
    (root / "saved-images-list.json").write_text(json.dumps(listed))
    index = json.loads((root / "index.json").read_text())
    index["manifests"] = [one for one in index["manifests"] if "/artifact:" in str(one["annotations"])]
    (root / "index.json").write_text(json.dumps(index))
    for kind in ("gzip", "zstd"):
        output = OutputSettings(target=place / kind, format=kind, sync=False)
        assert asyncio.run(compress(CompressOptions(cache=root, output=output))).status == 0
    return place


@pytest.fixture
def login_environment(tmp_path: Path) -> Environment:
    return Environment(login_file=tmp_path / ".docker" / "config.json")


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """All kinds of images, with all their platforms."""
    return make(tmp_path_factory.mktemp("everything"), library(), ["all"])


@pytest.fixture(scope="session")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Images of several platforms of which one is held."""
    images = library()
    names = ("multi", "docker-list", "attested", "nested", "windows")
    return make(tmp_path_factory.mktemp("partial"), {name: images[name] for name in names}, ["linux/amd64"])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Images that no test changes."""
    return make_site(tmp_path_factory.mktemp("served"))


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    """A client of the archive in parts."""
    async with served(site.archive) as one:
        yield one


@pytest.fixture
async def signed(tmp_path: Path) -> Signed:
    """A signed image that was saved; its registry is gone."""
    async with fake_registry() as registry:
        found = Signed(registry.address, tmp_path / "signed" / "out")
        found.add_to(registry)
        found.saved.parent.mkdir()
        assert (await run(found.saved.parent, f"{registry.address}/team/app:1")).status == 0
    return found
