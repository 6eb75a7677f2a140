"""How a fake registry knows its clients: passwords, or tokens of a token server.

Sources: RFC 7617; distribution's documents "Token Authentication Specification" and "OAuth2 Token Authentication".
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web
from multidict import MultiMapping

from hangar_async.server.listen import listening
from tests.fakes.faults import Script

#: Seconds that answers under way get when a server ends: none, but 0 would be for ever.
GRACE = 0.01


class Auth(Protocol):
    """The check of a client."""

    def challenge(self, request: web.Request) -> str | None:
        """Return the WWW-Authenticate of the refusal of a request, or None for one that is welcome."""
        ...


@dataclass(frozen=True)
class Basic:
    """Knows users by their passwords."""

    users: Mapping[str, str]

    def challenge(self, request: web.Request) -> str | None:
        """Ask for a password."""
        return None if user_of(request, self.users) else 'Basic realm="fake registry"'


@dataclass(frozen=True)
class TokenRequest:
    """A request to a token server."""

    method: str
    account: str | None
    service: str
    scopes: tuple[str, ...]
    fields: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass
class TokenServer:
    """Gives tokens, and knows which of them are good for what.

    `private` names the repositories that a user is needed for; `users` and their passwords. A token is good for `uses`
    requests (None: without end) until `revoke`: `expires_in`, in seconds, is only what is said. With `refresh` a
    refresh token comes with each token for a user; these, and those of `identity`, can be used by POST. `key` is the
    field that carries the token.
    """

    users: Mapping[str, str] = field(default_factory=dict)
    private: frozenset[str] = frozenset()
    identity: dict[str, str] = field(default_factory=dict)
    expires_in: int | None = 300
    uses: int | None = None
    refresh: bool = False
    key: str = "token"
    service: str = "fake"
    #: The repositories that it knows by another name than that in the path, as behind a proxy that rewrites paths.
    names: Mapping[str, str] = field(default_factory=dict)
    #: Its URL; "" makes the registry its place.
    realm: str = ""
    requests: list[TokenRequest] = field(default_factory=list)
    faults: Script = field(default_factory=Script)
    _tokens: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def issued(self) -> set[str]:
        """The tokens that are known."""
        return set(self._tokens)

    def challenge(self, request: web.Request) -> str | None:
        """Ask for a token with the scope that the request needs."""
        scopes = _scopes(request, self.names)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known = self._tokens.get(token) if scheme == "Bearer" else None
        if known is not None and all(_covered(scope, known[0]) for scope in scopes) and known[1] != 0:
            known[1] = known[1] if known[1] is None else known[1] - 1
            return None
        text = f'Bearer realm="{self.realm or f"{request.scheme}://{request.host}/token"}",service="{self.service}"'
        text += f',scope="{" ".join(scopes)}"' if scopes else ""
        return f'{text},error="{"insufficient_scope" if known else "invalid_token"}"' if token else text

    def revoke(self) -> None:
        """Make all tokens bad."""
        self._tokens.clear()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for a token."""
        return await self.faults.answer(request, self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        form: MultiMapping[Any] = await request.post() if request.method == "POST" else request.query
        scopes = form.getall("scope", [])
        wanted = tuple(one for text in scopes for one in text.split())
        user = self._user(request, form)
        fields = {name: str(value) for name, value in form.items()}
        self.requests.append(
            TokenRequest(request.method, user, fields.get("service", ""), wanted, fields, dict(request.headers))
        )
        if user is None and ("Authorization" in request.headers or request.method == "POST"):
            return web.json_response({"details": "incorrect username or password"}, status=401)
        token = secrets.token_urlsafe(24)
        self._tokens[token] = [{one for one in wanted if self._grants(user, one)}, self.uses]
        body: dict[str, Any] = {self.key: token}
        if self.expires_in is not None:
            body["expires_in"] = self.expires_in
        if user is not None and self.refresh:
            body["refresh_token"] = secrets.token_urlsafe(24)
            self.identity[body["refresh_token"]] = user
        return web.json_response(body)

    def _grants(self, user: str | None, scope: str) -> bool:
        _, repository, actions = scope.split(":")
        return user is not None or (repository not in self.private and actions == "pull")

    def _user(self, request: web.Request, form: MultiMapping[Any]) -> str | None:
        if request.method != "POST":
            return user_of(request, self.users)
        if form.get("grant_type") == "refresh_token":
            return self.identity.get(str(form.get("refresh_token")))
        name = str(form.get("username"))
        return name if name in self.users and self.users[name] == form.get("password") else None


@asynccontextmanager
async def token_serving(
    server: TokenServer, host: str = "127.0.0.1", path: str = "/token"
) -> AsyncIterator[TokenServer]:
    """Give a token server a socket of its own, and make it the realm."""
    app = web.Application()
    app.router.add_get(path, server.answer)
    app.router.add_post(path, server.answer)
    async with listening(app, host, grace=GRACE) as address:
        server.realm = f"http://{address}{path}"
        yield server


def _scopes(request: web.Request, names: Mapping[str, str]) -> list[str]:
    """The scopes that a request needs: for its repository, to read the source of a mount, or to list repositories."""
    if request.path == "/v2/_catalog":
        return ["registry:catalog:*"]
    repository = request.path.removeprefix("/v2/").partition("/manifests/")[0].partition("/blobs/")[0]
    repository = repository.removesuffix("/tags/list")
    reads = request.method in ("GET", "HEAD") and "/blobs/uploads/" not in request.path
    name = names.get(repository, repository)
    deletes = request.method == "DELETE" and "/manifests/" in request.path
    needed = [f"repository:{name}:{'pull' if reads else 'delete' if deletes else 'pull,push'}"] if repository else []
    if origin := request.query.get("from"):
        needed.append(f"repository:{origin}:pull")
    return needed


def _covered(scope: str, granted: set[str]) -> bool:
    kind, repository, actions = scope.split(":")
    held = {
        action for one in granted if one.startswith(f"{kind}:{repository}:") for action in one.split(":")[2].split(",")
    }
    return held.issuperset(actions.split(","))


def user_of(request: web.Request, users: Mapping[str, str]) -> str | None:
    """Name the user whose password a request carries."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Basic":
        return None
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return name if name in users and users[name] == password else None
