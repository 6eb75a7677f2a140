"""The Authorization of requests: Basic, or a token for the scope that a request needs.

Source: Docker Registry v2 authentication, "Token Authentication"; RFC 7617 (Basic).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from yarl import URL

from hangar_async.registry.auth.credentials import Credentials
from hangar_async.registry.auth.tokens import Challenge, Token, TokenRequest, TokenServer, basic
from hangar_async.registry.failures import denied
from hangar_async.registry.http.addresses import is_internal
from hangar_async.singleflight import SingleFlight


@dataclass(slots=True)
class Endpoint:
    """The address of a registry, and the challenges of its last response."""

    registry: str
    url: URL
    challenges: tuple[Challenge, ...] = ()

    @property
    def is_internal(self) -> bool:
        """True for a registry on this machine or its link."""
        return is_internal(self.url.host or "")

    def at(self, path: str) -> URL:
        """Return the URL of a path below `/v2/`; the path has only checked names and stays unchanged."""
        return self.url.join(URL(f"/v2/{path}", encoded=True))


@dataclass(frozen=True, slots=True)
class Authorization:
    """The value of an Authorization header (None: send none), and the source of its credential ("" for none)."""

    value: str | None = field(default=None, repr=False)
    source: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """The access that a request needs: `actions` on a repository, and to pull from another one to mount from.

    Without a repository the request only proves who the user is.
    Source: Docker Registry v2 authentication, "Token Scope Documentation".
    """

    repository: str = ""
    actions: str = "pull"
    source_repository: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The scopes as a token server reads them, one for each repository."""
        if not self.repository:
            return ()
        scope = f"repository:{self.repository}:{self.actions}"
        if self.source_repository in ("", self.repository):
            return (scope,)
        return (scope, f"repository:{self.source_repository}:pull")


class Authorizer:
    """The source of the Authorization of requests: Basic, Bearer, or none.

    Tokens are kept by registry, realm, service, scope and credential, fetched once for all requests that need the same
    one, and renewed before they expire by `clock`, in seconds.
    """

    def __init__(
        self, credentials: Credentials, server: TokenServer, flights: SingleFlight, clock: Callable[[], float]
    ) -> None:
        self._credentials = credentials
        self._server = server
        self._flights = flights
        self._clock = clock
        self._tokens: dict[TokenRequest, Token] = {}

    async def authorize(self, endpoint: Endpoint, scope: Scope, refused: Authorization | None = None) -> Authorization:
        """Return the Authorization of a request that needs a scope.

        `refused` is the one that the registry has just answered 401 to: its token is renewed. Raises Unauthorized
        where credentials are wanted and none are known, and the errors of the token server.
        """
        challenge = _choose(endpoint.challenges)
        if challenge is None:
            return Authorization()
        credential = await self._credentials.find(endpoint.registry, scope.repository)
        source = credential.source if credential else ""
        if challenge.scheme == "basic":
            if credential is None or not credential.username:
                subject = f"{endpoint.registry}/{scope.repository}" if scope.repository else "its API"
                raise denied(endpoint.registry, subject, source=source)
            return Authorization(basic(credential.username, credential.password), source)
        if credential and credential.registry_token:
            return Authorization(f"Bearer {credential.registry_token}", source)
        request = TokenRequest(
            endpoint.registry, endpoint.url, challenge.realm, challenge.service, scope.words, credential
        )
        token = self._tokens.get(request)
        if token is None or token.expires <= self._clock() or (refused and refused.value == token.header):
            token = await self._flights.join(request, lambda: self._renew(request))
        return Authorization(token.header, source)

    async def _renew(self, request: TokenRequest) -> Token:
        token = self._tokens[request] = await self._server.get(request)
        return token


def _choose(challenges: tuple[Challenge, ...]) -> Challenge | None:
    """Choose the challenge to answer: Bearer with a realm before Basic."""
    bearer = [challenge for challenge in challenges if challenge.scheme == "bearer" and challenge.realm]
    others = [challenge for challenge in challenges if challenge.scheme == "basic"]
    return next(iter(bearer + others), None)
