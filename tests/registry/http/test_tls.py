"""Certificates: which are trusted, which are shown, and what is said of one of another time."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from yarl import URL

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.registry.http.tls import TlsContexts
from tests.fakes.registry import answering
from tests.registry.rig import MANIFEST, Proxy, pull, serve_manifest


async def test_a_ca_of_certs_d_is_trusted(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async with answering(serve_manifest, tls=server_tls) as registry:
        assert await pull(f"{registry.address}/app", trusting(registry.address)) == MANIFEST


async def test_a_ca_of_another_host_is_not_trusted(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async with answering(serve_manifest, tls=server_tls) as registry:
        with pytest.raises(NetworkError) as caught:
            await pull(f"{registry.address}/app", trusting("other.test"))
    assert not registry.requests
    assert not caught.value.transient
    assert "certificate" in str(caught.value)
    assert "--tls-verify=false" in caught.value.advice
    assert "certs.d" in caught.value.advice


@pytest.mark.parametrize(
    ("shift", "words"), [(timedelta(days=-400), "has expired"), (timedelta(days=400), "is not valid yet")]
)
async def test_a_certificate_of_another_time_names_the_clock(
    authority: trustme.CA, trusting: Callable[..., RegistrySettings], shift: timedelta, words: str
) -> None:
    now = datetime.now(UTC) + shift
    leaf = authority.issue_cert("127.0.0.1", not_before=now - timedelta(days=30), not_after=now + timedelta(days=30))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(tls)
    async with answering(serve_manifest, tls=tls) as registry:
        with pytest.raises(
            NetworkError, match=f"its TLS certificate {words}, by the clock of this machine: 20"
        ) as caught:
            await pull(f"{registry.address}/app", trusting(registry.address))
    start, end = (now + timedelta(days=days) for days in (-30, 30))
    assert f" UTC; it is valid from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC" in str(caught.value)
    assert registry.requests == []
    assert not caught.value.transient
    assert "set the clock" in caught.value.advice
    assert "certs.d" not in caught.value.advice


async def test_a_certificate_whose_own_dates_are_right_and_a_server_that_is_gone(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async with answering(serve_manifest, tls=server_tls) as registry:
        url = URL(f"https://{registry.address}/")
        settings = trusting(registry.address)
        first = TlsContexts(settings)
        said = await first.dates(url, 10)
        assert said.startswith("it is itself, unlike one that has signed it, valid from 20")
        # A certificate that nobody vouches for says nothing.
        assert await TlsContexts(replace(settings, certificates=())).dates(url, 10) == ""
    assert await first.dates(url, 10) == said
    assert await TlsContexts(settings).dates(url, 10) == ""


async def test_no_dates_are_asked_for_beside_a_proxy(
    authority: trustme.CA, trusting: Callable[..., RegistrySettings]
) -> None:
    now = datetime.now(UTC) - timedelta(days=400)
    leaf = authority.issue_cert("registry.test", not_before=now, not_after=now + timedelta(days=30))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(tls)
    async with (
        answering(serve_manifest, tls=tls) as registry,
        Proxy({"registry.test:443": registry.address}).running() as proxy,
    ):
        settings = replace(trusting("registry.test"), proxies=Proxies(https=proxy.url))
        with pytest.raises(NetworkError, match=r"has expired, by the clock of this machine: [-0-9 :]* UTC$"):
            await pull("registry.test/app", settings)


async def test_the_ca_that_the_environment_names_is_trusted(
    server_tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "bundle.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
    async with answering(serve_manifest, tls=server_tls) as registry:
        assert await pull(f"{registry.address}/app", RegistrySettings(certificates=())) == MANIFEST


async def test_verification_can_be_turned_off(server_tls: ssl.SSLContext) -> None:
    async with answering(serve_manifest, tls=server_tls) as registry:
        assert await pull(f"{registry.address}/app", RegistrySettings(tls_verify=False)) == MANIFEST


async def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA, trusting: Callable[..., RegistrySettings]
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("elsewhere.test").configure_cert(context)
    async with answering(serve_manifest, tls=context) as registry:
        with pytest.raises(NetworkError, match="certificate") as caught:
            await pull(f"{registry.address}/app", trusting(registry.address))
    assert not caught.value.transient


async def test_a_client_certificate_is_shown_to_its_host(
    authority: trustme.CA, trusting: Callable[..., RegistrySettings], tmp_path: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    async with answering(serve_manifest, tls=context) as registry:
        settings = trusting(registry.address)
        with pytest.raises(NetworkError):
            await pull(f"{registry.address}/app", settings)
        mine = authority.issue_cert("me@example.test")
        folder = tmp_path / "certs.d" / registry.address
        mine.private_key_pem.write_to_path(folder / "client.key")
        for blob in mine.cert_chain_pems:
            blob.write_to_path(folder / "client.cert", append=True)
        assert await pull(f"{registry.address}/app", settings) == MANIFEST


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


async def test_a_folder_that_cannot_be_entered_is_named(tmp_path: Path) -> None:
    (tmp_path / "reg.test").symlink_to("reg.test")
    with pytest.raises(NetworkError, match=r"reg\.test for reg\.test:443: Too many levels of symbolic links"):
        await TlsContexts(RegistrySettings(certificates=(tmp_path,))).context(URL("https://reg.test/"))


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


async def test_files_of_certs_d_have_bounds(tmp_path: Path) -> None:
    """A pipe would be read for ever."""
    for number, name in enumerate(("pipe.crt", "large.crt", "file")):
        folder = tmp_path / str(number) / "a.io"
        folder.mkdir(parents=True)
        if name == "pipe.crt":
            os.mkfifo(folder / name)
        else:
            for copy in range(1 if name == "large.crt" else 1_001):
                with (folder / (f"{name}{copy or ''}")).open("wb") as file:
                    file.truncate((4 << 20) + 1 if copy == 0 else 0)
    problems = ("no regular file", "more than 4,194,304 bytes", "more than 1,000 files")
    for number, problem in enumerate(problems):
        contexts = TlsContexts(RegistrySettings(certificates=(tmp_path / str(number),)))
        with pytest.raises(NetworkError, match=problem):
            await contexts.context(URL("https://a.io/"))
