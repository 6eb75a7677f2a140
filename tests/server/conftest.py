"""Fixtures of this room."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest
import trustme

from hangar_async.server.app import serving
from hangar_async.server.htpasswd import Users
from hangar_async.testing.images import Built
from hangar_async.testing.memory import MemoryContent
from tests.server.rig import DATA, HASHES


@pytest.fixture
def users() -> Users:
    return Users({"one": HASHES[0], "two": HASHES[1], "größe": HASHES[2]})


@pytest.fixture(params=["plain", "tls"])
def tls_contexts(
    request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    return (server_tls, client_tls) if request.param == "tls" else (None, None)


@pytest.fixture
def content(images: Mapping[str, Built]) -> MemoryContent:
    content = MemoryContent()
    for tag in ("1.0", "1.1", "2.0", "latest"):
        content.add(f"team/app:{tag}", images["multi"])
    content.add("other:1", images["oci"])
    content.add_blob("team/app", DATA)
    content.add_blob("team/app", b"")
    return content


@pytest.fixture
async def client(content: MemoryContent) -> AsyncIterator[aiohttp.ClientSession]:
    async with serving(content) as address, aiohttp.ClientSession(f"http://{address}") as session:
        yield session


@pytest.fixture
def certificate_files(tmp_path: Path, server_certificate: trustme.LeafCert) -> tuple[Path, Path]:
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in server_certificate.cert_chain_pems))
    server_certificate.private_key_pem.write_to_path(key)
    return certificate, key
