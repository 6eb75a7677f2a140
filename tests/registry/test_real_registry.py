"""The client against Debian's docker-registry: open, with a password, with TLS, and with signed tokens."""

from __future__ import annotations

import base64
import json
import random
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NetworkError, NotFound, Unauthorized
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Manifest, parse_manifest
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from tests.fakes.docker_registry import PASSWORD, USERNAME, docker_registry as running_registry
from tests.fakes.push import push_blob
from tests.registry.rig import OCI, describe, served

# This fixture skips where docker-registry is missing.
pytestmark = [pytest.mark.real, pytest.mark.usefixtures("docker_registry")]
DATA = random.Random(2).randbytes(1_000_000)
LAYER = describe(DATA)
NAME = "client/app"
CONFIG = b'{"architecture":"amd64","os":"linux"}'


async def fill(host: str, name: str = NAME, **session: object) -> bytes:
    """Push an image of one layer, tagged v1; return its manifest."""
    config = describe(CONFIG, media_type="application/vnd.oci.image.config.v1+json")
    document = {"schemaVersion": 2, "mediaType": OCI, "config": config.to_json(), "layers": [LAYER.to_json()]}
    raw = json.dumps(document, indent=3).encode()
    base = f"{'https' if 'connector' in session else 'http'}://{host}"
    async with aiohttp.ClientSession(base, **session) as push:  # type: ignore[arg-type]
        for content in (CONFIG, DATA):
            await push_blob(push, name, Digest.of(content), content)
        async with push.put(f"/v2/{name}/manifests/v1", data=raw, headers={"Content-Type": OCI}) as answer:
            assert answer.status == 201, await answer.text()
    return raw


async def check(client: RegistryClient, host: str, raw: bytes, name: str = NAME) -> None:
    """Fetch all of the image by tag and by digest, whole and from the middle."""
    image = Reference.parse(f"{host}/{name}:v1")
    manifest = await client.get_manifest(image)
    assert manifest.raw == raw
    assert (await client.get_manifest(image, manifest.digest)) == manifest
    parsed = parse_manifest(manifest.raw, manifest.content_type)
    assert isinstance(parsed, Manifest)
    for start in (0, 1, 765_432, LAYER.size - 1):
        async with client.open_blob(image, parsed.layers[0], start) as body:
            assert body.start == start
            assert b"".join([bytes(piece) async for piece in body.pieces()]) == DATA[start:]


async def test_an_open_registry_is_pulled_from(docker_registry: str) -> None:
    raw = await fill(docker_registry)
    async with RegistryClient(RegistrySettings()) as client:
        await check(client, docker_registry, raw)
        with pytest.raises(NotFound) as caught:
            await client.get_manifest(Reference.parse(f"{docker_registry}/{NAME}:v2"))
        assert caught.value.code == "MANIFEST_UNKNOWN"
        with pytest.raises(NotFound):
            async with client.open_blob(Reference.parse(f"{docker_registry}/{NAME}"), describe(b"other")):
                raise AssertionError


async def test_a_registry_with_a_password(htpasswd_registry: str) -> None:
    host = htpasswd_registry
    raw = await fill(host, headers={"Authorization": aiohttp.encode_basic_auth(USERNAME, PASSWORD)})
    async with RegistryClient(RegistrySettings()) as client:
        with pytest.raises(Unauthorized, match="no credentials"):
            await check(client, host, raw)
    settings = RegistrySettings(username=USERNAME, password=PASSWORD)
    async with RegistryClient(settings, username_for=host) as client:
        await check(client, host, raw)
    async with RegistryClient(replace(settings, password="other"), username_for=host) as client:
        with pytest.raises(Unauthorized, match="settings of this run") as caught:
            await check(client, host, raw)
    assert "other" not in str(caught.value)


async def test_a_registry_with_tls(
    tls_registry: str, ca: trustme.CA, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    raw = await fill(tls_registry, connector=aiohttp.TCPConnector(ssl=client_tls))
    folder = tmp_path / "certs.d" / tls_registry
    folder.mkdir(parents=True)
    ca.cert_pem.write_to_path(folder / "ca.crt")
    async with RegistryClient(RegistrySettings(certificates=(tmp_path / "certs.d",))) as client:
        await check(client, tls_registry, raw)
    async with RegistryClient(RegistrySettings(certificates=())) as client:
        with pytest.raises(NetworkError, match="certificate"):
            await check(client, tls_registry, raw)
    async with RegistryClient(RegistrySettings(certificates=(), tls_verify=False)) as client:
        await check(client, tls_registry, raw)


class Signer:
    """Makes the tokens that docker-registry takes: JSON web tokens with the certificate of their key inside."""

    def __init__(self, authority: trustme.CA) -> None:
        mine = authority.issue_cert("tokens.test", key_type=trustme.KeyType.RSA)
        key = load_pem_private_key(mine.private_key_pem.bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self.key = key
        self.certificate = load_pem_x509_certificate(mine.cert_chain_pems[0].bytes()).public_bytes(Encoding.DER)

    def sign(self, repositories: Iterable[str], life: int) -> str:
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(self.certificate).decode()]}
        access = [{"type": "repository", "name": name, "actions": ["pull", "push"]} for name in repositories]
        claims = {"iss": "tests", "aud": "tests", "nbf": now - 5, "iat": now, "exp": now + life, "access": access}
        text = ".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
        return f"{text}.{_encode(self.key.sign(text.encode(), padding.PKCS1v15(), SHA256()))}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@asynccontextmanager
async def token_registry(
    tmp_path: Path, authority: trustme.CA, environ: pytest.MonkeyPatch, lives: list[int]
) -> AsyncIterator[tuple[str, Signer, list[str]]]:
    """A registry that wants tokens, and their server, whose tokens live as long as `lives` says, one by one."""
    signer = Signer(authority)
    authority.cert_pem.write_to_path(tmp_path / "roots.pem")
    scopes: list[str] = []

    async def token(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != aiohttp.encode_basic_auth("me", "secret"):
            return web.json_response({"details": "who are you"}, status=401)
        wanted = request.query.getall("scope")
        scopes.append(" ".join(wanted))
        life = lives.pop(0)
        # An expired token is said to live on, as with a clock that goes wrong.
        token = signer.sign([scope.split(":")[1] for scope in wanted], life)
        return web.json_response({"token": token, "expires_in": 300})

    async with served(token) as server:
        # docker-registry takes its configuration from the environment too.
        environ.setenv("REGISTRY_AUTH", "token")
        environ.setenv("REGISTRY_AUTH_TOKEN_REALM", f"http://{server.host}/token")
        environ.setenv("REGISTRY_AUTH_TOKEN_SERVICE", "tests")
        environ.setenv("REGISTRY_AUTH_TOKEN_ISSUER", "tests")
        environ.setenv("REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE", str(tmp_path / "roots.pem"))
        with running_registry(tmp_path) as host:
            yield host, signer, scopes


async def test_a_registry_with_tokens(tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    async with token_registry(tmp_path, authority, monkeypatch, lives=[300, 300]) as (host, signer, scopes):
        raw = await fill(host, headers={"Authorization": f"Bearer {signer.sign(['client/app'], 300)}"})
        settings = RegistrySettings(username="me", password="secret")
        async with RegistryClient(settings, username_for=host) as client:
            await check(client, host, raw)
            with pytest.raises(NotFound):
                await client.get_manifest(Reference.parse(f"{host}/client/other"))
        async with RegistryClient(RegistrySettings()) as client:
            with pytest.raises(Unauthorized, match="who are you"):
                await check(client, host, raw)
    assert scopes == ["repository:client/app:pull", "repository:client/other:pull"]


async def test_a_token_that_the_registry_no_longer_takes_is_renewed(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with token_registry(tmp_path, authority, monkeypatch, lives=[-3600, 300]) as (host, signer, scopes):
        raw = await fill(host, headers={"Authorization": f"Bearer {signer.sign(['client/app'], 300)}"})
        settings = RegistrySettings(username="me", password="secret")
        async with RegistryClient(settings, username_for=host) as client:
            await check(client, host, raw)
    assert scopes == ["repository:client/app:pull"] * 2
