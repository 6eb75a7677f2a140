"""Certificates, made once for all tests of the room, and clients that trust them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from hangar_async.config.registries import RegistrySettings

NAMES = (
    "127.0.0.1",
    "localhost",
    "registry.test",
    "auth.test",
    "cdn.test",
    "inside.test",
    "near.test",
    "registry-1.docker.io",
)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*NAMES).configure_cert(context)
    return context


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path) -> Callable[..., RegistrySettings]:
    """Make settings that trust the authority for these hosts, by a certs.d of their own."""

    def make(*hosts: str, **changes: object) -> RegistrySettings:
        for host in hosts:
            folder = tmp_path / "certs.d" / host
            folder.mkdir(parents=True, exist_ok=True)
            authority.cert_pem.write_to_path(folder / "ca.crt")
        return RegistrySettings(certificates=(tmp_path / "certs.d",), **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture(params=[True, False], ids=["buffered", "streamed"])
def settings(request: pytest.FixtureRequest) -> RegistrySettings:
    """Both ways to receive a body."""
    return RegistrySettings(buffered=request.param, stall_timeout=0.2)
