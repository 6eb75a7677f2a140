from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from yarl import URL

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.registry.http.tls import TlsContexts
from tests.registry.rig import (
    MANIFEST,
    pull,
    serve_manifest,
    served,
)


async def test_a_ca_of_certs_d_is_trusted(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async with served(serve_manifest, tls=server_tls) as registry:
        assert await pull(f"{registry.host}/app", trusting(registry.host)) == MANIFEST


async def test_a_ca_of_another_host_is_not_trusted(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async with served(serve_manifest, tls=server_tls) as registry:
        with pytest.raises(NetworkError) as caught:
            await pull(f"{registry.host}/app", trusting("other.test"))
    assert not registry.requests
    assert not caught.value.transient
    assert "certificate" in str(caught.value)
    assert "--tls-verify=false" in caught.value.advice
    assert "certs.d" in caught.value.advice


async def test_the_ca_that_the_environment_names_is_trusted(
    server_tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "bundle.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
    async with served(serve_manifest, tls=server_tls) as registry:
        assert await pull(f"{registry.host}/app", RegistrySettings(certificates=())) == MANIFEST


async def test_verification_can_be_turned_off(server_tls: ssl.SSLContext) -> None:
    async with served(serve_manifest, tls=server_tls) as registry:
        assert await pull(f"{registry.host}/app", RegistrySettings(tls_verify=False)) == MANIFEST


async def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA, trusting: Callable[..., RegistrySettings]
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("elsewhere.test").configure_cert(context)
    async with served(serve_manifest, tls=context) as registry:
        with pytest.raises(NetworkError, match="certificate") as caught:
            await pull(f"{registry.host}/app", trusting(registry.host))
    assert not caught.value.transient


async def test_a_client_certificate_is_shown_to_its_host(
    authority: trustme.CA, trusting: Callable[..., RegistrySettings], tmp_path: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    async with served(serve_manifest, tls=context) as registry:
        settings = trusting(registry.host)
        with pytest.raises(NetworkError):
            await pull(f"{registry.host}/app", settings)
        mine = authority.issue_cert("me@example.test")
        folder = tmp_path / "certs.d" / registry.host
        mine.private_key_pem.write_to_path(folder / "client.key")
        for blob in mine.cert_chain_pems:
            blob.write_to_path(folder / "client.cert", append=True)
        assert await pull(f"{registry.host}/app", settings) == MANIFEST


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("client.cert", "x", "client.key is not beside it"),
        ("client.key", "x", "client.cert is not beside it"),
        ("ca.crt", "no certificate", "cannot be read as PEM"),
        ("ca.crt", "", "cannot be read as PEM"),
    ],
)
async def test_files_that_cannot_be_used_are_named(tmp_path: Path, name: str, content: str, why: str) -> None:
    folder = tmp_path / "reg.test:5000"
    folder.mkdir()
    (folder / name).write_text(content)
    contexts = TlsContexts(RegistrySettings(certificates=(tmp_path,)))
    with pytest.raises(NetworkError, match=why) as caught:
        await contexts.context(URL("https://reg.test:5000/v2/"))
    assert str(folder / name) in str(caught.value)
    assert not caught.value.transient


async def test_a_key_with_a_password_is_refused_without_asking_for_it(authority: trustme.CA, tmp_path: Path) -> None:
    folder = tmp_path / "reg.test"
    folder.mkdir()
    mine = authority.issue_cert("me@example.test")
    mine.cert_chain_pems[0].write_to_path(folder / "client.cert")
    (folder / "client.key").write_text(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n"
        "-----END RSA PRIVATE KEY-----\n"
    )
    with pytest.raises(NetworkError, match=r"client\.cert"):
        await TlsContexts(RegistrySettings(certificates=(tmp_path,))).context(URL("https://reg.test/"))


async def test_hosts_without_files_share_one_context(authority: trustme.CA, tmp_path: Path) -> None:
    for name in ("own.test", "port.test:443"):
        (tmp_path / name).mkdir()
        authority.cert_pem.write_to_path(tmp_path / name / "ca.crt")
    contexts = TlsContexts(RegistrySettings(certificates=(tmp_path, tmp_path / "missing")))
    plain = await contexts.context(URL("https://a.test/"))
    assert await contexts.context(URL("https://b.test:8443/")) is plain
    assert await contexts.context(URL("https://own.test/")) is await contexts.context(URL("https://own.test:443/x"))
    assert await contexts.context(URL("https://own.test/")) is not plain
    assert await contexts.context(URL("https://port.test/")) is not plain
    assert await contexts.context(URL("https://own.test:5000/")) is plain
