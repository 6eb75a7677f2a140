from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import ContentError, RegistryError, Unauthorized
from hangar_async.oci.reference import Reference
from hangar_async.registry.auth.authorizer import Scope
from hangar_async.registry.client import RegistryClient
from tests.fakes.auth import Basic, TokenServer
from tests.fakes.credential_helpers import Helpers, says
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry, answering, fake_registry
from tests.registry.auth.rig import LAYER, LAYER_BLOB, BearerRegistry, b64, config, get_raw
from tests.registry.rig import BLOB, DATA, LOGIN, MANIFEST, OCI, Lent, Proxy, client_of, describe, image_at


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("name", ["token", "access_token"])
async def test_a_token_is_fetched_without_credentials(name: str) -> None:
    async with answering(BearerRegistry(token_name=name)) as registry, RegistryClient(RegistrySettings()) as client:
        assert await get_raw(client, f"{registry.address}/team/app") == MANIFEST
    [request] = registry.asked("/token")
    assert dict(request.query) == {"service": "reg.io", "scope": "repository:team/app:pull"}
    assert "Authorization" not in request.headers


async def test_twenty_requests_of_one_scope_fetch_one_token_and_none_is_refused_twice() -> None:
    bearer = BearerRegistry(gate=asyncio.Event())
    async with answering(bearer) as registry, RegistryClient(RegistrySettings()) as client:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(get_raw(client, f"{registry.address}/app:{number}")) for number in range(20)]
            await bearer.asked.wait()
            assert bearer.gate
            bearer.gate.set()
        assert {task.result() for task in tasks} == {MANIFEST}
        assert len(registry.asked("/token")) == 1
        assert len(registry.asked("/manifests/")) == 20
        assert await get_raw(client, f"{registry.address}/other") == MANIFEST
    assert len(registry.asked("/token")) == 2
    # The challenge is known by now: the other repository was not asked without its token first.
    assert len(registry.asked("/manifests/")) == 21


async def test_a_cancelled_waiter_takes_no_other_with_it() -> None:
    bearer = BearerRegistry(gate=asyncio.Event())
    async with (
        answering(bearer) as registry,
        RegistryClient(RegistrySettings()) as client,
        asyncio.TaskGroup() as group,
    ):
        first, second = (group.create_task(get_raw(client, f"{registry.address}/app:{number}")) for number in range(2))
        await bearer.asked.wait()
        first.cancel()
        await asyncio.wait([first])
        assert bearer.gate
        bearer.gate.set()
        assert await second == MANIFEST
    assert first.cancelled()
    assert len(registry.asked("/token")) == 1


@pytest.mark.parametrize(
    ("told", "life"), [({}, 60), ({"expires_in": 300}, 300), ({"expires_in": 0}, 60), ({"expires_in": 8}, 8)]
)
async def test_a_token_is_renewed_before_it_ends(told: dict[str, object], life: float) -> None:
    clock = Clock()
    async with answering(BearerRegistry(told)) as registry, RegistryClient(RegistrySettings(), clock=clock) as client:
        margin = min(10, life / 4)
        for moved, tokens in ((0.0, 1), (life - margin - 0.1, 1), (0.1, 2)):
            clock.now += moved
            assert await get_raw(client, f"{registry.address}/app") == MANIFEST
            assert len(registry.asked("/token")) == tokens
    # The only refusal was that of the first look.
    assert len(registry.requests) == 3 + 2 + 1


async def test_an_expired_token_is_renewed_once() -> None:
    bearer = BearerRegistry()
    async with answering(bearer) as registry, RegistryClient(RegistrySettings()) as client:
        image = Reference.parse(f"{registry.address}/app")
        assert await get_raw(client, str(image)) == MANIFEST
        bearer.revoked.update(bearer.issued)
        async with client.open_blob(image, LAYER_BLOB) as body:
            assert b"".join([bytes(piece) async for piece in body.pieces()]) == LAYER
        assert len(bearer.issued) == 2
        bearer.revoked.update(bearer.issued)
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(get_raw(client, f"{image.name}:{number}"))
    assert len(bearer.issued) == 3


async def test_a_refused_fresh_token_is_not_renewed_again() -> None:
    bearer = BearerRegistry()
    bearer.revoked.update(f"repository:app:pull#{number}" for number in range(9))
    async with answering(bearer) as registry, RegistryClient(RegistrySettings()) as client:
        with pytest.raises(Unauthorized, match="no credentials"):
            await get_raw(client, f"{registry.address}/app")
    assert len(registry.asked("/manifests/")) == 2
    assert len(bearer.issued) == 2


@dataclass
class Rewriting:
    """A registry whose paths begin with `hub/`, which its token server does not know of."""

    bearer: BearerRegistry = field(default_factory=BearerRegistry)
    named: str = ""

    async def __call__(self, request: web.Request) -> web.Response:
        response = await self.bearer(request.clone(rel_url=request.path_qs.replace("/v2/hub/", "/v2/")))
        if self.named and "WWW-Authenticate" in response.headers:
            challenge = response.headers["WWW-Authenticate"]
            response.headers["WWW-Authenticate"] = re.sub('scope="[^"]*"', f'scope="{self.named}"', challenge)
        return response


def scopes(registry: FakeRegistry) -> list[str]:
    return [" ".join(URL(request.raw_path).query.getall("scope")) for request in registry.asked("/token")]


async def test_the_scope_of_the_challenge_is_asked_for_when_that_of_the_path_is_refused() -> None:
    async with answering(Rewriting()) as registry, RegistryClient(RegistrySettings()) as client:
        for _ in range(2):
            assert await get_raw(client, f"{registry.address}/hub/app") == MANIFEST
        assert scopes(registry) == ["repository:hub/app:pull", "repository:app:pull"]
        # With the scope of its path and the right one; later requests know the right one.
        assert len(registry.asked("/manifests/")) == 3


async def test_an_expired_token_of_the_scope_of_a_challenge_is_renewed_once() -> None:
    rewriting = Rewriting()
    async with answering(rewriting) as registry, RegistryClient(RegistrySettings()) as client:
        assert await get_raw(client, f"{registry.address}/hub/app") == MANIFEST
        rewriting.bearer.revoked.update(rewriting.bearer.issued)
        assert await get_raw(client, f"{registry.address}/hub/app") == MANIFEST
    assert scopes(registry)[2:] == ["repository:app:pull"]


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ("repository:other:pull", "repository:other:pull"),
        ("repository:a:pull repository:b:pull,push,delete", "repository:a:pull repository:b:pull"),
        ("repository:app:pull,push repository:app:*", "repository:app:pull"),
        ("registry:catalog:*", "repository:app:pull"),
        ("nonsense : :pull", "repository:app:pull"),
        (" ", "repository:app:pull"),
    ],
)
async def test_a_challenge_names_no_more_rights_than_the_request_needs(named: str, asked: str) -> None:
    rewriting = Rewriting(named=named)
    rewriting.bearer.revoked.update(f"repository:app:pull#{number}" for number in range(9))
    async with answering(rewriting) as registry, RegistryClient(RegistrySettings()) as client:
        with pytest.raises(Unauthorized):
            await get_raw(client, f"{registry.address}/app")
    assert scopes(registry) == ["repository:app:pull", asked]


async def test_a_registry_that_names_another_scope_each_time_is_asked_three_times() -> None:
    rewriting = Rewriting()

    async def handle(request: web.Request) -> web.Response:
        rewriting.named = f"repository:app{len(registry.requests)}:pull"
        return await rewriting(request)

    async with answering(handle) as registry, RegistryClient(RegistrySettings()) as client:
        with pytest.raises(Unauthorized):
            await get_raw(client, f"{registry.address}/hub/app")
    assert len(registry.asked("/manifests/")) == 3


async def logins(request: web.Request) -> web.Response:
    """Another registry, which knows a user."""
    if request.headers.get("Authorization") != f"Basic {b64('other:0ther')}":
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    return web.Response(body=MANIFEST)


def leading_to(other: FakeRegistry) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A registry with a login of its own, whose content is at another registry, in another repository."""

    async def handle(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Basic {b64('me:s3cret')}":
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        path = request.path.replace("/v2/app/", "/v2/there/app/")
        return web.Response(status=307, headers={"Location": f"http://{other.address}{path}"})

    return handle


def two_logins(path: Path, registry: FakeRegistry, other: FakeRegistry) -> RegistrySettings:
    entries = {registry.address: b64("me:s3cret"), other.address: b64("other:0ther")}
    path = path / "config.json"
    path.write_text(json.dumps({"auths": {host: {"auth": auth} for host, auth in entries.items()}}))
    return RegistrySettings(credential_files=(path,))


@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
async def test_another_registry_that_a_redirect_leads_to_is_asked_with_a_token(tmp_path: Path, named: bool) -> None:
    bearer = BearerRegistry(login=b64("other:0ther") if named else None)
    async with answering(bearer) as other, answering(leading_to(other)) as registry:
        settings, names = two_logins(tmp_path, registry, other), [other.address] if named else []
        async with RegistryClient(settings, named=names) as client:
            image = Reference.parse(f"{registry.address}/app:1")
            assert await get_raw(client, str(image)) == MANIFEST
            async with client.open_blob(image, LAYER_BLOB) as body:
                assert b"".join([bytes(piece) async for piece in body.pieces()]) == LAYER
    assert set(scopes(other)) == {"repository:there/app:pull"}
    tokens = {request.headers.get("Authorization") for request in other.asked("/token")}
    assert tokens == ({f"Basic {b64('other:0ther')}"} if named else {None})
    assert len(other.asked("/token")) == 1
    assert {secret.split()[0] for secret in other.secrets()} == ({"Basic", "Bearer"} if named else {"Bearer"})
    assert set(registry.secrets()) == {f"Basic {b64('me:s3cret')}"}


@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
async def test_a_login_is_sent_to_another_registry_only_where_it_is_named(tmp_path: Path, named: bool) -> None:
    async with answering(logins) as other, answering(leading_to(other)) as registry:
        settings = two_logins(tmp_path, registry, other)
        async with RegistryClient(settings, named=[other.address] if named else []) as client:
            if named:
                assert await get_raw(client, f"{registry.address}/app:1") == MANIFEST
            else:
                with pytest.raises(RegistryError, match=f"{other.address} answered 401") as caught:
                    await get_raw(client, f"{registry.address}/app:1")
                assert "s3cret" not in str(caught.value)
    assert other.secrets() == ([f"Basic {b64('other:0ther')}"] if named else [])


async def test_another_registry_that_refuses_its_token_is_named(tmp_path: Path) -> None:
    bearer = BearerRegistry()
    bearer.revoked.update(f"repository:there/app:pull#{number}" for number in range(9))
    async with (
        answering(bearer) as other,
        answering(leading_to(other)) as registry,
        RegistryClient(two_logins(tmp_path, registry, other)) as client,
    ):
        with pytest.raises(Unauthorized, match=f"{other.address} denies access") as caught:
            await get_raw(client, f"{registry.address}/app:1")
    assert not caught.value.transient
    assert caught.value.host == other.address
    assert not any("Basic" in secret for secret in other.secrets())


async def test_a_storage_with_a_challenge_that_names_no_token_server_has_expired(tmp_path: Path) -> None:
    async def storage(request: web.Request) -> web.Response:
        return web.Response(status=401, headers={"WWW-Authenticate": "Bearer authorization_uri=https://login.test"})

    async with (
        answering(storage) as other,
        answering(leading_to(other)) as registry,
        RegistryClient(two_logins(tmp_path, registry, other)) as client,
    ):
        with pytest.raises(RegistryError) as caught:
            await get_raw(client, f"{registry.address}/app:1")
    assert caught.value.transient
    assert not other.secrets()


async def test_a_password_with_a_colon_reaches_the_token_server_alone(tmp_path: Path) -> None:
    async with (
        answering(BearerRegistry(login=b64("me:pa:ss"))) as registry,
        RegistryClient(config(tmp_path, registry.address, auth=b64("me:pa:ss"))) as client,
    ):
        assert await get_raw(client, f"{registry.address}/app") == MANIFEST
    [request] = registry.asked("/token")
    assert request.query["account"] == "me"
    assert {
        request.path.partition("?")[0] for request in registry.requests if b64("me:pa:ss") in str(request.headers)
    } == {"/token"}


async def test_a_wrong_password_is_reported_with_its_file(tmp_path: Path) -> None:
    async with (
        answering(BearerRegistry(login=b64("me:right"))) as registry,
        RegistryClient(config(tmp_path, registry.address, auth=b64("me:s3cret"))) as client,
    ):
        with pytest.raises(Unauthorized) as caught:
            await get_raw(client, f"{registry.address}/app")
    error = caught.value
    assert str(tmp_path / "config.json") in str(error)
    assert "incorrect username or password" in str(error)
    assert "s3cret" not in f"{error} {error.advice} {error!r} {error.__dict__}"
    assert not error.transient


@pytest.mark.parametrize("username", ["", "someone"])
async def test_an_identity_token_is_posted(tmp_path: Path, username: str) -> None:
    bearer = BearerRegistry(refresh="r3fresh", token_name="access_token")
    async with answering(bearer) as registry:
        settings = config(tmp_path, registry.address, auth=b64(f"{username}:"), identitytoken="r3fresh")
        async with RegistryClient(settings) as client:
            assert await get_raw(client, f"{registry.address}/app") == MANIFEST
    [request] = registry.asked("/token")
    assert request.method == "POST"
    assert "r3fresh" not in request.raw_path
    [form] = bearer.forms
    assert (form["service"], form["scope"], form["client_id"]) == ("reg.io", "repository:app:pull", "hangar_async")


@pytest.mark.parametrize("status", [404, 405])
async def test_a_token_server_without_post_is_asked_by_get(tmp_path: Path, status: int) -> None:
    bearer = BearerRegistry(login=b64("<token>:r3fresh"))

    async def no_post(request: web.Request) -> web.Response:
        return web.Response(status=status) if request.method == "POST" else await bearer(request)

    async with (
        answering(no_post) as registry,
        RegistryClient(config(tmp_path, registry.address, identitytoken="r3fresh")) as client,
    ):
        assert await get_raw(client, f"{registry.address}/app") == MANIFEST
    assert [request.method for request in registry.asked("/token")] == ["POST", "GET"]


async def test_an_identity_token_is_posted_for_all_scopes_in_one(tmp_path: Path) -> None:
    bearer = BearerRegistry(refresh="r3fresh")
    async with answering(bearer) as registry:
        settings = config(tmp_path, registry.address, identitytoken="r3fresh")
        async with RegistryClient(settings) as client:
            image = Reference.parse(f"{registry.address}/app")
            with suppress(RegistryError):
                await client.mount_blob(image, LAYER_BLOB, "base/one")
    assert bearer.forms[0]["scope"] == "repository:app:pull,push repository:base/one:pull"


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (Scope(), ()),
        (Scope("app"), ("repository:app:pull",)),
        (Scope("app", "pull,push"), ("repository:app:pull,push",)),
        (Scope("app", "pull,push", "app"), ("repository:app:pull,push",)),
        (Scope("app", "pull,push", "base"), ("repository:app:pull,push", "repository:base:pull")),
    ],
)
def test_scopes_in_the_words_of_a_token_server(scope: Scope, words: tuple[str, ...]) -> None:
    assert scope.words == words


async def test_a_refused_identity_token_is_not_followed_by_a_get(tmp_path: Path) -> None:
    async with (
        answering(BearerRegistry(refresh="good")) as registry,
        RegistryClient(config(tmp_path, registry.address, identitytoken="bad")) as client,
    ):
        with pytest.raises(Unauthorized, match=r"config\.json"):
            await get_raw(client, f"{registry.address}/app")
    assert [request.method for request in registry.asked("/token")] == ["POST"]


async def test_a_posted_secret_follows_no_redirect(tmp_path: Path) -> None:
    bearer = BearerRegistry()

    async def moved(request: web.Request) -> web.Response:
        return (
            web.Response(status=307, headers={"Location": "/other"})
            if request.path == "/token"
            else await bearer(request)
        )

    async with (
        answering(moved) as registry,
        RegistryClient(config(tmp_path, registry.address, identitytoken="r3fresh")) as client,
    ):
        with pytest.raises(RegistryError, match="redirect"):
            await get_raw(client, f"{registry.address}/app")
    assert not registry.asked("/other")


async def test_a_registry_token_is_sent_as_it_is(tmp_path: Path) -> None:
    bearer = BearerRegistry()
    bearer.issued.append("repository:app:pull#ready")
    async with (
        answering(bearer) as registry,
        RegistryClient(config(tmp_path, registry.address, registrytoken=bearer.issued[0])) as client,
    ):
        assert await get_raw(client, f"{registry.address}/app") == MANIFEST
    assert not registry.asked("/token")


async def test_tokens_are_not_shared_by_credentials(tmp_path: Path) -> None:
    """Two keys of one file cover different parts of one registry."""
    async with answering(BearerRegistry()) as registry:
        path = tmp_path / "auth.json"
        entries = {
            f"{registry.address}/one": {"auth": b64("first:1")},
            f"{registry.address}/two": {"auth": b64("second:2")},
        }
        path.write_text(json.dumps({"auths": entries}))
        async with RegistryClient(RegistrySettings(credential_files=(path,))) as client:
            for name in ("one/app", "two/app", "three/app"):
                assert await get_raw(client, f"{registry.address}/{name}") == MANIFEST
    sent = [request.headers.get("Authorization") for request in registry.asked("/token")]
    assert sent == [f"Basic {b64('first:1')}", f"Basic {b64('second:2')}", None]


@pytest.mark.parametrize(
    ("body", "why"),
    [(b"{}", "without a token"), (b'{"token":""}', "without a token"), (b'{"token":"a\\r\\nX: y"}', "without a token"),
     (b"<html>", "no JSON"), (b'{"token":5}', r"other JSON: .*str.* got `int` - at `\$\.token`"),
     (b'{"token":"hidden","access_token":["hidden"]}', r"got `array` - at `\$\.access_token`"),
     (b'{"token":"hidden","expires_in":"300"}', r"got `str` - at `\$\.expires_in`"), (b"[]", r"got `array`"),
     (b'{"token":"' + b"a" * (1 << 20) + b'"}', "larger than"),
     (b'{"x":' + b"[" * 500_000, "no JSON"), (b"[" * 500_000, "other JSON|no JSON"),
     (b'{"token":"hidden","expires_in":' + b"9" * 100_000 + b"}", "JSON")],
)  # fmt: skip
async def test_a_malformed_token_response_is_reported(body: bytes, why: str) -> None:
    bearer = BearerRegistry()

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=body) if request.path == "/token" else await bearer(request)

    async with answering(handle) as registry, RegistryClient(RegistrySettings()) as client:
        with pytest.raises(ContentError, match=why) as caught:
            await get_raw(client, f"{registry.address}/app")
    assert "hidden" not in str(caught.value)
    assert not caught.value.transient


@pytest.mark.parametrize(("status", "transient"), [(429, True), (500, True), (503, True), (400, False), (404, False)])
async def test_a_failing_token_server_is_named(status: int, transient: bool) -> None:
    bearer = BearerRegistry()
    tries = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal tries
        if request.path == "/token":
            tries += 1
            if tries == 1:
                return web.Response(status=status, headers={"Retry-After": "7"})
        return await bearer(request)

    async with answering(handle) as registry, RegistryClient(RegistrySettings()) as client:
        with pytest.raises(RegistryError, match="token") as caught:
            await get_raw(client, f"{registry.address}/app")
        assert (caught.value.status, caught.value.transient) == (status, transient)
        assert await get_raw(client, f"{registry.address}/app") == MANIFEST


async def basic(request: web.Request) -> web.Response:
    if request.headers.get("Authorization") != f"Basic {b64('me:pa:ss')}":
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="reg"'})
    return web.Response(body=MANIFEST)


async def test_basic_with_the_given_password() -> None:
    async with answering(basic) as registry:
        settings = RegistrySettings(username="me", password="pa:ss")
        async with RegistryClient(settings, username_for=registry.address) as client:
            assert await get_raw(client, f"{registry.address}/app") == MANIFEST
    assert len(registry.asked("manifests")) == 1


async def test_the_given_password_is_for_its_registry_alone() -> None:
    async with answering(basic) as registry, answering(basic) as other:
        settings = RegistrySettings(username="me", password="pa:ss")
        async with RegistryClient(settings, username_for=registry.address) as client:
            assert await get_raw(client, f"{registry.address}/app") == MANIFEST
            with pytest.raises(Unauthorized, match="no credentials for it are known"):
                await get_raw(client, f"{other.address}/app")
        async with RegistryClient(settings) as client:
            with pytest.raises(Unauthorized):
                await get_raw(client, f"{registry.address}/app")
    assert not other.secrets()


async def test_basic_with_a_wrong_password_is_sent_once() -> None:
    async with answering(basic) as registry:
        settings = RegistrySettings(username="me", password="no")
        async with RegistryClient(settings, username_for=registry.address) as client:
            with pytest.raises(Unauthorized, match="settings of this run"):
                await get_raw(client, f"{registry.address}/app")
    assert len(registry.asked("manifests")) == 1


async def test_a_challenge_that_comes_with_the_content_is_answered() -> None:
    """The base path is open to all, and the challenge comes later."""

    async def late(request: web.Request) -> web.Response:
        return web.Response() if request.path == "/v2/" else await basic(request)

    async with answering(late) as registry:
        settings = RegistrySettings(username="me", password="pa:ss")
        async with RegistryClient(settings, username_for=registry.address) as client:
            assert await get_raw(client, f"{registry.address}/app") == MANIFEST
            assert await get_raw(client, f"{registry.address}/app") == MANIFEST
    assert len(registry.asked("manifests")) == 3


@pytest.mark.parametrize(
    ("realm", "why"),
    [
        ("http://auth.test/token", "leads from https to http"),
        ("https://127.0.0.1:{port}/token", "on this machine"),
        ("https://[::1]:{port}/token", "on this machine"),
        ("https://169.254.169.254/token", "on this machine"),
        ("https://user:pass@auth.test/token", "a user name in it"),
        ("/token", "no web address"),
        ("file:///etc/passwd", "no web address"),
        ("https://auth.test:99999/", "no web address"),
    ],
)
async def test_an_unsafe_realm_of_a_public_registry_is_refused(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings], realm: str, why: str
) -> None:
    async with answering(BearerRegistry(), tls=server_tls) as inside:
        bearer = BearerRegistry(realm=realm.replace("{port}", inside.address.rpartition(":")[2]))
        async with (
            answering(bearer, tls=server_tls) as registry,
            Proxy({"registry.test:443": registry.address}).running() as proxy,
        ):
            settings = replace(
                trusting("registry.test", "auth.test", inside.address),
                proxies=Proxies(proxy.url, proxy.url),
                username="me",
                password="secret",
            )
            async with RegistryClient(settings, username_for="registry.test") as client:
                with pytest.raises(Unauthorized, match=why) as caught:
                    await get_raw(client, "registry.test/app")
        assert not inside.requests
    assert set(proxy.lines) == {"CONNECT registry.test:443 HTTP/1.1"}
    assert "pass@" not in str(caught.value)
    assert not registry.secrets()


async def test_a_token_server_on_another_host_is_asked(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    bearer = BearerRegistry(realm="https://auth.test/token", login=b64("me:secret"))
    async with answering(bearer, tls=server_tls) as registry, answering(bearer, tls=server_tls) as tokens:
        routes = {"registry.test:443": registry.address, "auth.test:443": tokens.address}
        async with Proxy(routes).running() as proxy:
            settings = replace(
                trusting("registry.test", "auth.test"),
                proxies=Proxies(https=proxy.url),
                username="me",
                password="secret",
            )
            async with RegistryClient(settings, username_for="registry.test") as client:
                assert await get_raw(client, "registry.test/app") == MANIFEST
    assert len(tokens.requests) == 1
    assert not registry.asked("/token")
    assert all(secret.startswith("Bearer") for secret in registry.secrets())


async def test_a_token_has_the_scopes_of_its_request() -> None:
    tokens = TokenServer({"me": "pass:word"})
    async with fake_registry(auth=tokens, pushable=True) as registry, client_of(registry.address, LOGIN) as client:
        image = image_at(registry)
        registry.content.add_blob("base/one", DATA)
        assert not await client.has_blob(image, BLOB)
        assert await client.mount_blob(image, BLOB, "base/one") is None
        assert await client.mount_blob(image, BLOB, "team/app") is None
        async with client.upload(image, describe(DATA[1:])) as upload:
            await upload.send(Lent(DATA[1:]))
        await client.put_manifest(image, b"{}", OCI)
    assert [request.scopes for request in tokens.requests] == [
        ("repository:team/app:pull,push",),
        ("repository:team/app:pull,push", "repository:base/one:pull"),
    ]
    assert all(request.status != 401 for request in registry.requests[1:])


async def test_the_source_of_a_credential_is_logged_and_nothing_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "hangar_async.registry")
    async with (
        answering(BearerRegistry()) as registry,
        RegistryClient(config(tmp_path, registry.address, auth=b64("me:word"))) as client,
    ):
        assert await get_raw(client, f"{registry.address}/team/app") == MANIFEST
    assert f"{registry.address}: team/app by {tmp_path / 'config.json'}" in caplog.messages
    assert not {"word", b64("me:word"), "Bearer", "Basic"} & set(re.findall(r"[\w=+/]+", caplog.text))


async def test_a_login_that_was_changed_meanwhile_is_read_again(tmp_path: Path) -> None:
    users = {"me": "old"}
    async with fake_registry(auth=Basic(users)) as registry:
        registry.add("app:1", small("app"))
        settings, clock, notices = config(tmp_path, registry.address, auth=b64("me:old")), Clock(), list[str]()
        async with RegistryClient(settings, clock=clock, notice=notices.append) as client:
            assert await get_raw(client, f"{registry.address}/app:1")
            users["me"] = "new"
            config(tmp_path, registry.address, auth=b64("me:new"))
            registry.requests.clear()
            assert await get_raw(client, f"{registry.address}/app:1")
            assert [request.status for request in registry.asked("/manifests/")] == [401, 200]
            # A file that is wrong now stays as it was.
            users["me"] = "newer"
            settings.credential_files[0].write_text("no JSON")
            clock.now += 31
            with pytest.raises(Unauthorized):
                await get_raw(client, f"{registry.address}/app:1")
            assert notices[0].endswith("; its last reading stays in use")


async def test_a_token_server_that_refuses_a_login_gets_the_new_one(tmp_path: Path) -> None:
    bearer = BearerRegistry(login=b64("me:old"))
    async with (
        answering(bearer) as registry,
        RegistryClient(config(tmp_path, registry.address, auth=b64("me:old"))) as client,
    ):
        assert await get_raw(client, f"{registry.address}/app") == MANIFEST
        bearer.login = b64("me:new")
        config(tmp_path, registry.address, auth=b64("me:new"))
        assert await get_raw(client, f"{registry.address}/other") == MANIFEST
        bearer.login = b64("me:newer")
        with pytest.raises(Unauthorized):
            await get_raw(client, f"{registry.address}/third")


async def test_a_helper_is_asked_again_for_what_was_refused_but_not_too_often(tmp_path: Path, helpers: Helpers) -> None:
    clock, bearer = Clock(), BearerRegistry(login=b64("me:1"))
    helpers.add("ecr", says("me", "1"))
    async with answering(bearer) as registry:
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"credHelpers": {registry.address: "ecr"}}))
        async with RegistryClient(RegistrySettings(credential_files=(path,)), clock=clock) as client:
            assert await get_raw(client, f"{registry.address}/a") == MANIFEST
            assert len(helpers.asked("ecr")) == 1
            bearer.login = b64("me:2")
            for name in ("b", "c"):
                with pytest.raises(Unauthorized):
                    await get_raw(client, f"{registry.address}/{name}")
            assert len(helpers.asked("ecr")) == 2
            helpers.add("ecr", says("me", "2"))
            clock.now += 31
            async with asyncio.TaskGroup() as group:
                for name in ("b", "c", "d"):
                    group.create_task(get_raw(client, f"{registry.address}/{name}"))
            assert len(helpers.asked("ecr")) == 3
