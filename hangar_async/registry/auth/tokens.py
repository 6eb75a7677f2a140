"""Tokens: got from the server that a Bearer challenge names.

Source: Docker Registry v2 authentication, "Token Authentication" and "OAuth2 Token Authentication".
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from yarl import URL

from hangar_async.errors import ContentError, RegistryError, Unauthorized
from hangar_async.registry.auth.docker_config import Credential
from hangar_async.registry.http.addresses import web_address
from hangar_async.registry.http.redirects import leads_inside
from hangar_async.registry.http.transport import Transport

MAX_TOKEN = 1 << 20
#: How long a token lives when its server doesn't say, and how long before its end it is no longer used, in seconds.
_DEFAULT_LIFE = 60.0
_MARGIN = 10.0
_CLIENT = "hangar_async"
#: Answers of a server that doesn't know the way by POST.
_NO_POST = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True)
class TokenWish:
    """All that a token depends on; `registry_url` is the address of the registry that wants it."""

    registry: str
    registry_url: URL
    realm: str
    service: str
    scopes: tuple[str, ...]
    credential: Credential | None


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and when it is no longer to be used, by the clock of its server object."""

    text: str = field(repr=False)
    expires: float

    @property
    def header(self) -> str:
        """The value of the Authorization header that it makes."""
        return f"Bearer {self.text}"


class _Answer(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None


class TokenServer:
    """Asks for tokens: with an identity token by POST, else by GET with the user name and password, if any."""

    def __init__(self, transport: Transport, clock: Callable[[], float]) -> None:
        self._transport = transport
        self._clock = clock

    async def get(self, wish: TokenWish) -> Token:
        """Get a token; raises Unauthorized, RegistryError or NetworkError about the token server."""
        realm = checked_realm(wish)
        asked = self._clock()
        answer = None
        if wish.credential and wish.credential.identity_token:
            answer = await self._post(realm, wish, wish.credential.identity_token)
        if answer is None:
            answer = await self._get(realm, wish)
        text = answer.token or answer.access_token
        if not text or not text.isascii() or not text.isprintable():
            raise ContentError(
                f"the token server {realm.host} of {wish.registry} answered without a token",
                advice="tell the operator of the registry",
            )
        life = answer.expires_in if answer.expires_in and answer.expires_in > 0 else _DEFAULT_LIFE
        return Token(text, asked + life - min(_MARGIN, life / 4))

    async def _post(self, realm: URL, wish: TokenWish, identity_token: str) -> _Answer | None:
        form = {
            "grant_type": "refresh_token",
            "service": wish.service,
            "client_id": _CLIENT,
            "scope": " ".join(wish.scopes),
            "refresh_token": identity_token,
        }
        try:
            return await self._ask(realm, wish, form=form)
        except RegistryError as error:
            if error.status in _NO_POST:
                return None
            raise

    async def _get(self, realm: URL, wish: TokenWish) -> _Answer:
        fields = {"service": wish.service} if wish.service else {}
        authorization = None
        if known := wish.credential:
            username = known.username or "<token>"
            fields["account"] = username
            authorization = basic(username, known.password or known.identity_token)
        query = [*fields.items(), *(("scope", scope) for scope in wish.scopes)]
        return await self._ask(realm.update_query(query), wish, authorization=authorization)

    async def _ask(
        self, url: URL, wish: TokenWish, *, authorization: str | None = None, form: dict[str, str] | None = None
    ) -> _Answer:
        host = f"{url.host_port_subcomponent}"
        what = f"a token for {' and '.join(wish.scopes) or wish.registry}"
        source = wish.credential.source if wish.credential else ""
        async with self._transport.send(url, host, headers={}, authorization=authorization, form=form) as answer:
            if answer.status != 200:
                raise await answer.refusal(what, source)
            body = await answer.read(what, MAX_TOKEN)
        try:
            return msgspec.json.decode(body, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ContentError(f"the token server {host} of {wish.registry} answered with no JSON") from None


def basic(username: str, password: str) -> str:
    """The value of a Basic Authorization header."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def checked_realm(wish: TokenWish) -> URL:
    """Read a realm as a URL; raises Unauthorized for one that no secret, and no request, may be sent to."""
    realm = web_address(wish.realm) or URL()
    why = ""
    if not realm.host:
        why = "no web address"
    elif realm.user is not None or realm.password is not None:
        why = "one with a user name in it"
    elif realm.scheme == "http" and wish.registry_url.scheme == "https":
        why = f"not protected by TLS (http://{realm.host})"
    elif leads_inside(wish.registry_url, realm):
        why = f"on this machine or its link ({realm.host})"
    if why:
        raise Unauthorized(
            f"{wish.registry} sends us for a token to an address that is {why}, which is not followed",
            host=wish.registry,
            status=401,
            advice="tell the operator of the registry",
        )
    return realm
