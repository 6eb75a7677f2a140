"""Authentication: the Authorization header that a request needs.

Source: Docker Registry v2 authentication, "Token Authentication"; RFC 7617 (Basic).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hangar_async.oci.reference import Reference
from hangar_async.registry.auth.challenge import Challenge
from hangar_async.registry.auth.credentials import Credentials
from hangar_async.registry.auth.tokens import Token, TokenServer, TokenWish, basic
from hangar_async.registry.endpoints import Endpoint
from hangar_async.registry.failures import denied
from hangar_async.singleflight import SingleFlight


def push_scope(image: Reference, mounted: str = "") -> Scope:
    """The scope that is needed to push to an image's repository, and to mount from another one."""
    return Scope(image.repository, "pull,push", mounted)


@dataclass(frozen=True, slots=True)
class Authorization:
    """The value of an Authorization header (None: send none), and where its credential came from ("" for nowhere)."""

    value: str | None = field(default=None, repr=False)
    source: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a request needs to be allowed: `actions` on a repository, and to pull from another one to mount from.

    Without a repository it is to be known as a user, and nothing more.
    Source: Docker Registry v2 authentication, "Token Scope Documentation".
    """

    repository: str = ""
    actions: str = "pull"
    mounted: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The scopes as a token server reads them, one for each repository."""
        if not self.repository:
            return ()
        also = (f"repository:{self.mounted}:pull",) if self.mounted and self.mounted != self.repository else ()
        return (f"repository:{self.repository}:{self.actions}", *also)


class Authorizer:
    """Gives requests their Authorization: Basic, Bearer, or none.

    Tokens are kept by registry, realm, service, scope and credential, got once by all who want the same one, and
    renewed before they expire by `clock`, in seconds.
    """

    def __init__(
        self, credentials: Credentials, server: TokenServer, flights: SingleFlight, clock: Callable[[], float]
    ) -> None:
        self._credentials = credentials
        self._server = server
        self._flights = flights
        self._clock = clock
        self._tokens: dict[TokenWish, Token] = {}

    async def authorize(self, endpoint: Endpoint, scope: Scope, refused: Authorization | None = None) -> Authorization:
        """Return what to send with a request that needs a scope.

        `refused` is what the registry has just answered 401 to: a token that was it is got anew. Raises Unauthorized
        where credentials are wanted and none are known, and whatever getting a token raises.
        """
        challenge = _choose(endpoint.challenges)
        if challenge is None:
            return Authorization()
        credential = await self._credentials.find(endpoint.registry, scope.repository)
        source = credential.source if credential else ""
        if challenge.scheme == "basic":
            if credential is None or not credential.username:
                what = f"{endpoint.registry}/{scope.repository}" if scope.repository else "its API"
                raise denied(endpoint.registry, what, source=source)
            return Authorization(basic(credential.username, credential.password), source)
        if credential and credential.registry_token:
            return Authorization(f"Bearer {credential.registry_token}", source)
        wish = TokenWish(endpoint.registry, endpoint.url, challenge.realm, challenge.service, scope.words, credential)
        token = self._tokens.get(wish)
        if token is None or token.expires <= self._clock() or (refused and refused.value == token.header):
            token = await self._flights.join(wish, lambda: self._renew(wish))
        return Authorization(token.header, source)

    async def _renew(self, wish: TokenWish) -> Token:
        token = self._tokens[wish] = await self._server.get(wish)
        return token


def _choose(challenges: tuple[Challenge, ...]) -> Challenge | None:
    """Take the challenge to answer: Bearer, where tokens are to be had, before Basic."""
    bearer = [challenge for challenge in challenges if challenge.scheme == "bearer" and challenge.realm]
    others = [challenge for challenge in challenges if challenge.scheme == "basic"]
    return next(iter(bearer + others), None)
