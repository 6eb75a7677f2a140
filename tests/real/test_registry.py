"""Pulling from and pushing to a real registry: open, with a password, TLS, tokens, and over a line that breaks."""

from __future__ import annotations

import base64
import json
import random
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
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
from hangar_async.errors import (
    DigestMismatch,
    HangarError,
    NetworkError,
    NotFound,
    RegistryError,
    StorageError,
    Unauthorized,
    UploadLost,
)
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Manifest, parse_manifest
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.uploads import Upload
from hangar_async.testing.images import Built
from tests.fakes.docker_registry import PASSWORD, USERNAME, docker_registry as running_registry
from tests.fakes.push import push_blob
from tests.fakes.registry import answering
from tests.fakes.relay import relay
from tests.fakes.skopeo import Skopeo
from tests.registry.rig import OCI, Lent, client_of, describe

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("docker_registry")]
DATA = random.Random(5).randbytes(3_000_000)
BLOB = describe(DATA)
SETTINGS = RegistrySettings()


async def content(client: RegistryClient, image: Reference) -> bytes:
    async with client.open_blob(image, BLOB) as body:
        return b"".join([bytes(piece) async for piece in body.pieces()])


async def finish(upload: Upload, lent: Lent) -> list[HangarError]:
    errors: list[HangarError] = []
    while not upload.complete:
        try:
            await upload.send(lent)
        except HangarError as error:
            errors.append(error)
            if not error.transient or len(errors) == 5:
                raise
    return errors


async def push(client: RegistryClient, image: Reference, built: Built) -> None:
    """Push an image: blobs, children before parents, the tag last."""
    for data in built.blobs.values():
        if not await client.has_blob(image, describe(data)):
            async with client.upload(image, describe(data)) as upload:
                await upload.send(Lent(data))
    for digest, (media_type, raw) in built.documents.items():
        await client.put_manifest(image, raw, media_type, digest)
    assert (await client.put_manifest(image, built.raw, built.media_type)).digest == built.digest


async def test_every_kind_of_image_keeps_its_digest_and_is_read_by_skopeo(
    docker_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    async with client_of(docker_registry) as client:
        for name, built in images.items():
            image = Reference.parse(f"{docker_registry}/pushed/{name}:v1")
            await push(client, image, built)
            assert await client.head_manifest(image, push=True) == replace(built.descriptor, platform=None)
            for digest, (_, raw) in built.documents.items():
                assert (await client.get_manifest(image, digest)).raw == raw
            shown = await skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{image}")
            assert shown.encode() == built.raw
    for name in ("oci", "docker", "zstd", "multi", "docker-list", "attested"):
        source = f"docker://{docker_registry}/pushed/{name}:v1"
        await skopeo("copy", "--all", "--src-tls-verify=false", source, f"dir:{tmp_path / name}")


async def test_a_mounted_blob_is_there(docker_registry: str) -> None:
    one, two = (Reference.parse(f"{docker_registry}/mounts/{name}") for name in ("one", "two"))
    async with client_of(docker_registry) as client:
        async with client.upload(one, BLOB) as upload:
            await upload.send(Lent(DATA))
        assert await client.has_blob(one, BLOB)
        assert not await client.has_blob(two, BLOB)
        assert await client.mount_blob(two, BLOB, "mounts/one") is None
        assert await client.has_blob(two, BLOB)
        assert await content(client, two) == DATA
        missing = describe(DATA[1:])
        opened = await client.mount_blob(two, missing, "mounts/one")
        assert opened
        async with opened:
            await opened.send(Lent(DATA[1:]))
        assert await client.has_blob(two, missing)


async def test_an_empty_blob(docker_registry: str) -> None:
    image = Reference.parse(f"{docker_registry}/pushes/empty")
    async with client_of(docker_registry) as client, client.upload(image, describe(b"")) as upload:
        await upload.send(Lent(b""))
        assert await client.has_blob(image, describe(b""))


async def test_refusals_are_explained(docker_registry: str, images: Mapping[str, Built]) -> None:
    image = Reference.parse(f"{docker_registry}/pushes/refused")
    async with client_of(docker_registry) as client:
        for name in ("oci", "multi"):
            with pytest.raises(RegistryError, match="lacks something that manifest") as caught:
                await client.put_manifest(image, images[name].raw, images[name].media_type)
            assert (caught.value.status, caught.value.transient) == (400, True)
        with pytest.raises(RegistryError, match="does not take manifest") as caught:
            await client.put_manifest(image, b"{", OCI)
        assert caught.value.code == "MANIFEST_INVALID"
        async with client.upload(image, BLOB) as upload:
            with pytest.raises(DigestMismatch, match="DIGEST_INVALID"):
                await upload.send(Lent(DATA[::-1]))
            await upload.send(Lent(DATA))


async def test_pieces(docker_registry: str) -> None:
    image = Reference.parse(f"{docker_registry}/pushes/pieces")
    async with client_of(docker_registry) as client:
        client._largest[docker_registry] = 400_000
        lent = Lent(DATA)
        async with client.upload(image, BLOB) as upload:
            await upload.send(lent)
        assert lent.opened == [0]
        assert await content(client, image) == DATA


async def test_an_upload_goes_on_after_the_last_piece(docker_registry: str) -> None:
    image = Reference.parse(f"{docker_registry}/pushes/resumed")

    async def failing(offset: int) -> AsyncIterator[bytes]:
        yield DATA[:1_000_000]
        raise StorageError("cannot read it", path="it")

    async with client_of(docker_registry) as client:
        client._largest[docker_registry] = 1_000_000
        async with client.upload(image, BLOB) as upload:
            with pytest.raises(StorageError):
                await upload.send(failing)
            assert upload.offset == 1_000_000
            lent = Lent(DATA)
            await upload.send(lent)
        assert lent.opened == [1_000_000]
        assert await content(client, image) == DATA


@pytest.mark.parametrize("after", [300, 1_000_000, 2_999_000])
@pytest.mark.parametrize("pieces", [False, True])
async def test_an_upload_that_breaks_in_the_middle_is_completed(docker_registry: str, after: int, pieces: bool) -> None:
    """This registry gives up a session that was broken within a request: it says so, and the upload starts again.

    It may say so only when the session is used again.
    """
    async with (
        relay(docker_registry, cut_upload_after=after, cuts=1) as line,
        client_of(line.address) as client,
    ):
        image = Reference.parse(f"{line.address}/pushes/broken-{after}-{int(pieces)}")
        if pieces:
            client._largest[line.address] = 700_000
        lent = Lent(DATA)
        async with client.upload(image, BLOB) as upload:
            errors = await finish(upload, lent)
        assert isinstance(errors[0], NetworkError)
        assert [type(error) for error in errors[1:]] in ([], [UploadLost])
        assert await content(client, image) == DATA
        assert lent.settled
        assert line.connections >= 2
        # The bytes before the break, all of them once more, and a piece that told that the session is gone.
        assert line.uploaded < after + len(DATA) + (700_000 if pieces else 0) + 10_000


async def test_a_cancelled_upload_is_gone(docker_registry: str) -> None:
    image = Reference.parse(f"{docker_registry}/pushes/cancelled")
    async with client_of(docker_registry) as client:
        upload = client.upload(image, BLOB)
        await upload._session.open()
        address = upload._session.address
        await upload.cancel()
        upload._session.address = address
        assert await upload._session.offset() is None
        assert not upload._session.address


async def test_a_registry_with_a_password(htpasswd_registry: str) -> None:
    host = htpasswd_registry
    image = Reference.parse(f"{host}/pushes/password")
    async with client_of(host) as client:
        for work in (client.upload(image, BLOB).send(Lent(DATA)), client.ping(host)):
            with pytest.raises(Unauthorized, match="no credentials"):
                await work
    settings = RegistrySettings(username=USERNAME, password=PASSWORD)
    async with client_of(host, settings) as client:
        assert await client.ping(host)
        lent = Lent(DATA)
        await client.upload(image, BLOB).send(lent)
        assert lent.opened == [0]
        assert await content(client, image) == DATA
    async with client_of(host, replace(settings, password="other")) as client:
        with pytest.raises(Unauthorized, match="settings of this run") as caught:
            await client.upload(image, BLOB).send(Lent(DATA))
    assert "other" not in str(caught.value)


async def test_a_registry_with_tls(tls_registry: str, ca: trustme.CA, tmp_path: Path) -> None:
    folder = tmp_path / "certs.d" / tls_registry
    folder.mkdir(parents=True)
    ca.cert_pem.write_to_path(folder / "ca.crt")
    image = Reference.parse(f"{tls_registry}/pushes/tls:v1")
    settings = RegistrySettings(certificates=(tmp_path / "certs.d",))
    async with client_of(tls_registry, settings) as client:
        assert not await client.ping(tls_registry)
        for _ in range(2):
            await client.upload(image, BLOB).send(Lent(DATA))
        assert await content(client, image) == DATA
    async with client_of(tls_registry, RegistrySettings(certificates=())) as client:
        with pytest.raises(NetworkError, match="certificate"):
            await client.upload(image, BLOB).send(Lent(DATA))


async def test_a_registry_with_tokens(tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first token is refused by the registry, whose clock knows better."""
    lives = [-3600, 300, 300, 300]
    async with (
        token_registry(tmp_path, authority, monkeypatch, lives) as (host, _, scopes),
        client_of(host, RegistrySettings(username="me", password="secret")) as client,
    ):
        one, two = (Reference.parse(f"{host}/tokens/{name}") for name in ("one", "two"))
        lent = Lent(DATA)
        await client.upload(one, BLOB).send(lent)
        assert await client.has_blob(one, BLOB)
        assert await client.mount_blob(two, BLOB, "tokens/one") is None
        assert Digest.of(await content(client, two)) == BLOB.digest
    assert scopes == [
        "repository:tokens/one:pull,push",
        "repository:tokens/one:pull,push",
        "repository:tokens/two:pull,push repository:tokens/one:pull",
        "repository:tokens/two:pull",
    ]


# This fixture skips where docker-registry is missing.
PULLED = random.Random(2).randbytes(1_000_000)
LAYER = describe(PULLED)
NAME = "client/app"
CONFIG = b'{"architecture":"amd64","os":"linux"}'


async def fill(host: str, name: str = NAME, **session: object) -> bytes:
    """Push an image of one layer, tagged v1; return its manifest."""
    config = describe(CONFIG, media_type="application/vnd.oci.image.config.v1+json")
    document = {"schemaVersion": 2, "mediaType": OCI, "config": config.to_json(), "layers": [LAYER.to_json()]}
    raw = json.dumps(document, indent=3).encode()
    base = f"{'https' if 'connector' in session else 'http'}://{host}"
    async with aiohttp.ClientSession(base, **session) as push:  # type: ignore[arg-type]
        for content in (CONFIG, PULLED):
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
            assert b"".join([bytes(piece) async for piece in body.pieces()]) == PULLED[start:]


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


async def test_a_registry_with_a_password_is_pulled_from(htpasswd_registry: str) -> None:
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


async def test_a_registry_with_tls_is_pulled_from(
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

    async with answering(token) as server:
        # docker-registry takes its configuration from the environment too.
        environ.setenv("REGISTRY_AUTH", "token")
        environ.setenv("REGISTRY_AUTH_TOKEN_REALM", f"http://{server.address}/token")
        environ.setenv("REGISTRY_AUTH_TOKEN_SERVICE", "tests")
        environ.setenv("REGISTRY_AUTH_TOKEN_ISSUER", "tests")
        environ.setenv("REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE", str(tmp_path / "roots.pem"))
        with running_registry(tmp_path) as host:
            yield host, signer, scopes


async def test_a_registry_with_tokens_is_pulled_from(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
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
