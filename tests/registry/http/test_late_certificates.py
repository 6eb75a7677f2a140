"""The certificates of the system, which aiohttp's own contexts load when they are used."""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

import pytest
import trustme

from hangar_async.registry.http.late_certificates import LateContext, late_certificates
from tests.fakes.registry import answering
from tests.registry.rig import serve_manifest

#: Loads the room, then prints the class of aiohttp's context, and how many certificates it had and has.
LOADS = """
import hangar_async.registry.client
from aiohttp import connector
context = connector._SSL_CONTEXT_VERIFIED
print(type(context).__name__, context.cert_store_stats()["x509"])
"""


def late_context() -> ssl.SSLContext:
    with late_certificates():
        return ssl.create_default_context()


async def connects(context: ssl.SSLContext, server_tls: ssl.SSLContext) -> bool:
    async with answering(serve_manifest, tls=server_tls) as registry:
        host, _, port = registry.address.rpartition(":")
        try:
            _, writer = await asyncio.open_connection(host, int(port), ssl=context)
        except ssl.SSLCertVerificationError:
            return False
        writer.close()
        return True


async def test_a_late_context_trusts_what_the_system_trusts(
    authority: trustme.CA, server_tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = late_context()
    assert type(context) is LateContext
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert await connects(context, server_tls)
    assert type(context) is ssl.SSLContext


async def test_a_late_context_trusts_nothing_else(server_tls: ssl.SSLContext) -> None:
    assert not await connects(late_context(), server_tls)


def test_its_certificates_are_there_for_whom_asks(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert late_context().cert_store_stats()["x509"] == 1
    assert len(late_context().get_ca_certs()) == 1


def test_contexts_that_are_made_afterwards_load_at_once(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_context()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.create_default_context()
    assert type(context) is ssl.SSLContext
    assert context.cert_store_stats()["x509"] == 1


async def test_aiohttp_is_imported_without_certificates(authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        LOADS,
        env={"SSL_CERT_FILE": str(tmp_path / "ca.pem")},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out.split() == [b"LateContext", b"1"]
