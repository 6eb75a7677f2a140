"""The fake registry's passwords and tokens."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import pytest

from tests.fakes.auth import Basic, TokenServer, token_serving
from tests.fakes.faults import Status
from tests.fakes.registry import FakeRegistry, fake_registry

USERS = {"user": "pass:word"}
SCOPE = "repository:team/app:pull"


async def ask(registry: FakeRegistry, path: str, authorization: str = "") -> tuple[int, str]:
    """Ask: the status, and what the refusal wants."""
    headers = {"Authorization": authorization} if authorization else {}
    url = f"http://{registry.address}{path}"
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
        return answer.status, answer.headers.get("WWW-Authenticate", "")


async def token(server: TokenServer, method: str = "GET", **fields: str) -> tuple[int, dict[str, Any]]:
    """Ask for a token; a field `user` is sent as Basic credentials."""
    user = fields.pop("user", None)
    headers = {"Authorization": aiohttp.encode_basic_auth(*user.split(":", 1))} if user else {}
    where: dict[str, Any] = {"params" if method == "GET" else "data": fields}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, server.realm, **where) as answer,
    ):
        return answer.status, await answer.json()


async def test_basic() -> None:
    async with fake_registry(auth=Basic(USERS)) as registry:
        assert await ask(registry, "/v2/") == (401, 'Basic realm="fake registry"')
        for password, status in (("pass:word", 200), ("wrong", 401)):
            said = aiohttp.encode_basic_auth("user", password)
            assert (await ask(registry, "/v2/", said))[0] == status
        assert [one.status for one in registry.requests] == [401, 200, 401]


async def test_a_token_is_good_for_its_scope_until_it_is_revoked() -> None:
    async with token_serving(TokenServer()) as server, fake_registry(auth=server) as registry:
        status, challenge = await ask(registry, "/v2/team/app/tags/list")
        assert status == 401
        assert challenge == f'Bearer realm="{server.realm}",service="fake",scope="{SCOPE}"'
        _, body = await token(server, service="fake", scope=SCOPE)
        assert body["expires_in"] == 300
        said = f"Bearer {body['token']}"
        # 404: it may ask, and there is no such repository.
        assert await ask(registry, "/v2/team/app/tags/list", said) == (404, "")
        assert await ask(registry, "/v2/", said) == (200, "")
        status, challenge = await ask(registry, "/v2/other/tags/list", said)
        assert status == 401
        assert 'error="insufficient_scope"' in challenge
        server.revoke()
        status, challenge = await ask(registry, "/v2/team/app/tags/list", said)
        assert status == 401
        assert 'error="invalid_token"' in challenge
        assert [one.scopes for one in server.requests] == [(SCOPE,)]
        assert registry.asked("/token") == []


async def test_tokens_that_are_used_up() -> None:
    async with token_serving(TokenServer(uses=2)) as server, fake_registry(auth=server) as registry:
        _, body = await token(server, scope=SCOPE)
        said = f"Bearer {body['token']}"
        assert [(await ask(registry, "/v2/", said))[0] for _ in range(3)] == [200, 200, 401]


async def test_the_registry_itself_may_be_the_realm() -> None:
    async with fake_registry(auth=TokenServer(key="access_token", expires_in=None)) as registry:
        _, challenge = await ask(registry, "/v2/team/app/manifests/latest")
        found = re.search('realm="([^"]+)"', challenge)
        assert found is not None
        assert found[1] == f"http://{registry.address}/token"
        async with aiohttp.ClientSession() as session, session.get(found[1], params={"scope": SCOPE}) as answer:
            body = await answer.json()
        assert set(body) == {"access_token"}
        assert (await ask(registry, "/v2/team/app/manifests/latest", f"Bearer {body['access_token']}"))[0] == 404
        assert [one.status for one in registry.asked("/token")] == [200]


async def test_private_repositories_need_a_user() -> None:
    server = TokenServer(users=USERS, private=frozenset({"team/app"}))
    async with token_serving(server), fake_registry(auth=server) as registry:
        for user, status in (("", 401), ("user:pass:word", 404)):
            fields = {"user": user} if user else {}
            _, body = await token(server, scope=SCOPE, **fields)
            assert (await ask(registry, "/v2/team/app/tags/list", f"Bearer {body['token']}"))[0] == status
        assert (await token(server, scope=SCOPE, user="user:wrong"))[0] == 401
        assert [one.account for one in server.requests] == [None, "user", None]


async def test_refresh_tokens() -> None:
    server = TokenServer(users=USERS, refresh=True, identity={"made before": "user"})
    async with token_serving(server):
        _, first = await token(server, scope=SCOPE, user="user:pass:word")
        for known in (first["refresh_token"], "made before"):
            fields = {"grant_type": "refresh_token", "refresh_token": known, "scope": f"{SCOPE} repository:b:pull"}
            status, body = await token(server, "POST", **fields)
            assert (status, bool(body["token"])) == (200, True)
        assert (await token(server, "POST", grant_type="refresh_token", refresh_token="wrong"))[0] == 401
        login = {"grant_type": "password", "username": "user", "password": "pass:word"}
        assert (await token(server, "POST", **login))[0] == 200
        assert server.requests[1].scopes == (SCOPE, "repository:b:pull")
        assert [one.account for one in server.requests] == ["user", "user", "user", None, "user"]


async def test_a_token_server_may_fail() -> None:
    async with token_serving(TokenServer()) as server:
        server.faults.add("/token", Status(503))
        async with aiohttp.ClientSession() as session:
            for status in (503, 200):
                async with session.get(server.realm) as answer:
                    assert answer.status == status
        assert len(server.requests) == 1


@pytest.mark.parametrize("said", ["Basic !", "Basic", "Digest x", "Bearer"])
async def test_nonsense_is_refused(said: str) -> None:
    async with fake_registry(auth=Basic(USERS)) as registry:
        assert (await ask(registry, "/v2/", said))[0] == 401
