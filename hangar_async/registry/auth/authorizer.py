"""The Authorization of requests: Basic, or a token for the scope that a request needs.

Source: Docker Registry v2 authentication, "Token Authentication"; RFC 7617 (Basic).
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from yarl import URL

from hangar_async.errors import ContentError, RegistryError, Unauthorized
from hangar_async.registry.auth.credentials import Credentials
from hangar_async.registry.auth.docker_config import Credential
from hangar_async.registry.auth.shared import SharedRequests, rights
from hangar_async.registry.auth.tokens import Challenge, Token, TokenRequest, TokenServer
from hangar_async.registry.failures import denied
from hangar_async.registry.http.proxies import basic
from hangar_async.singleflight import SingleFlight

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Endpoint:
    """The address of a registry, and the challenges of its last response."""

    registry: str
    url: URL
    challenges: tuple[Challenge, ...] = ()
    #: True for a registry on this machine or its link.
    internal: bool = False
    #: True where it answered as a registry does, 200 or 401.
    speaks: bool = False
    #: True for one that only another registry has named: it gets no credentials.
    anonymous: bool = False
    _origin: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._origin = str(self.url.origin())

    def at(self, path: str) -> URL:
        """Return the URL of a path below `/v2/`; the path has only checked names and stays unchanged."""
        return URL(f"{self._origin}/v2/{path}", encoded=True)


@dataclass(frozen=True, slots=True)
class Scope:
    """The access that a request needs: `actions` on a repository, and to pull from another one to mount from.

    Without a repository the request only proves who the user is, or, with the actions `*`, lists all repositories.
    Source: Docker Registry v2 authentication, "Token Scope Documentation".
    """

    repository: str = ""
    actions: str = "pull"
    source_repository: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The scopes as a token server reads them, one for each repository."""
        if not self.repository:
            return ("registry:catalog:*",) if self.actions == "*" else ()
        scope = f"repository:{self.repository}:{self.actions}"
        if self.source_repository in ("", self.repository):
            return (scope,)
        return (scope, f"repository:{self.source_repository}:pull")

    def named_by(self, challenge: Challenge) -> tuple[str, ...]:
        """Return the scopes that a challenge names, as far as they allow no other actions than this one."""
        rights = [word.rpartition(":") for word in challenge.scope.split()]
        kept = [(name, _common(actions, self.actions)) for name, _, actions in rights]
        return tuple(f"{name}:{actions}" for name, actions in kept if name and actions)


@dataclass(frozen=True, slots=True)
class Authorization:
    """The value of an Authorization header (None: send none), and the source of its credential ("" for none).

    `shared` marks a token of several repositories, which may grant less than one of its own.
    """

    value: str | None = field(default=None, repr=False)
    source: str = ""
    shared: bool = False

    def may_lack(self, status: int, scope: Scope) -> bool:
        """Tell whether a shared token may be the reason of a status, since it does not grant the scope."""
        # To a push that asks what is there, 404 is the usual answer.
        return self.shared and status in ((403,) if "push" in scope.actions else (403, 404))


def actions_of(*, push: bool, delete: bool = False) -> str:
    """Return the actions of a scope to read, to push, or to delete."""
    return "pull,delete" if delete else "pull,push" if push else "pull"


def _common(first: str, second: str) -> str:
    return ",".join(action for action in first.split(",") if action in second.split(","))


class Authorizer:
    """The source of the Authorization of requests: Basic, Bearer, or none.

    Tokens are kept by registry, realm, service, scope and credential, fetched once for all requests that need the same
    one, and renewed before they expire by `clock`, in seconds. One token serves several of the repositories that are
    expected, where their credential is the same and the server grants it.
    """

    def __init__(
        self, credentials: Credentials, server: TokenServer, flights: SingleFlight, clock: Callable[[], float]
    ) -> None:
        self._credentials = credentials
        self._server = server
        self._flights = flights
        self._clock = clock
        self._tokens: dict[TokenRequest, Token] = {}
        self._shared = SharedRequests()
        # The scopes that a registry has named for requests for which the scope of their path was not enough.
        self._adopted: dict[tuple[str, Scope], tuple[str, ...]] = {}

    async def authorize(self, endpoint: Endpoint, scope: Scope, refused: Authorization | None = None) -> Authorization:
        """Return the Authorization of a request that needs a scope.

        `refused` is the one that the registry has just refused: its token is renewed, and one of several repositories
        is followed by one of this repository alone. Credentials that are refused, by the registry or its token server,
        are looked up again. Raises Unauthorized where credentials are wanted and none are known, and the errors of the
        token server.
        """
        challenge = _choose(endpoint.challenges)
        if challenge is None:
            return Authorization()
        credential = await self._credential(endpoint, scope.repository)
        if refused is not None and refused.source and not refused.shared:
            credential = await self._renewed(endpoint, scope, credential)
        try:
            return await self._answer(challenge, credential, endpoint, scope, refused)
        except Unauthorized:
            renewed = await self._renewed(endpoint, scope, credential)
            if renewed == credential:
                raise
            return await self._answer(challenge, renewed, endpoint, scope, refused)

    async def _renewed(self, endpoint: Endpoint, scope: Scope, refused: Credential | None) -> Credential | None:
        if endpoint.anonymous:
            return refused
        return await self._credentials.renew(endpoint.registry, scope.repository, refused)

    async def _answer(
        self,
        challenge: Challenge,
        credential: Credential | None,
        endpoint: Endpoint,
        scope: Scope,
        refused: Authorization | None,
    ) -> Authorization:
        """Answer a challenge with a credential; raises as `authorize`."""
        source = credential.source if credential else ""
        _log.debug("%s: %s by %s", endpoint.registry, scope.repository or "its API", source or "no credentials")
        if challenge.scheme == "basic":
            if credential is None or not credential.username:
                subject = f"{endpoint.registry}/{scope.repository}" if scope.repository else "its API"
                raise denied(endpoint.registry, subject, source=source)
            return Authorization(basic(credential.username, credential.password), source)
        if credential and credential.registry_token:
            return Authorization(f"Bearer {credential.registry_token}", source)
        request = TokenRequest(
            endpoint.registry,
            endpoint.url,
            challenge.realm,
            challenge.service,
            self._words(endpoint, scope),
            credential,
            challenge.internal,
        )
        if (token := await self._shared_token(endpoint, scope, request, refused)) is not None:
            return Authorization(token.header, source, shared=True)
        return Authorization((await self._token(request, refused)).header, source)

    def expect(self, registry: str, repositories: Iterable[str], actions: str) -> None:
        """Note the repositories of a registry that requests for these actions will need: several share a token."""
        self._shared.expect(registry, repositories, actions)

    async def authorize_again(
        self, endpoint: Endpoint, scope: Scope, refused: Authorization, tries: int
    ) -> Authorization | None:
        """Return another Authorization after a 401 to the request's try of this number; None where there is no other.

        A token is renewed once. A fresh one is followed by a token for the scope that the registry names, if it is
        another one. Raises as `authorize`.
        """
        adopted = refused.value is not None and self.adopt(endpoint, scope)
        if tries > (2 if adopted else 1):
            return None
        renewed = await self.authorize(endpoint, scope, refused)
        return None if renewed == refused else renewed

    def adopt(self, endpoint: Endpoint, scope: Scope) -> bool:
        """Ask from now on for the scopes that the last challenge names; False where those asked for include them.

        Behind a proxy that rewrites paths, a repository has another name for the token server.
        """
        challenge = _choose(endpoint.challenges)
        named = scope.named_by(challenge) if challenge else ()
        if rights(named) <= rights(self._words(endpoint, scope)):
            return False
        self._adopted[endpoint.registry, scope] = named
        return True

    def _words(self, endpoint: Endpoint, scope: Scope) -> tuple[str, ...]:
        return self._adopted.get((endpoint.registry, scope), scope.words)

    async def _credential(self, endpoint: Endpoint, repository: str) -> Credential | None:
        return None if endpoint.anonymous else await self._credentials.find(endpoint.registry, repository)

    async def _shared_token(
        self, endpoint: Endpoint, scope: Scope, request: TokenRequest, refused: Authorization | None
    ) -> Token | None:
        """Return the token of several repositories that a request may use; None where it gets one of its own."""
        if request.scopes != scope.words:
            return None
        if refused is not None and refused.shared:
            # Whatever token of several comes next: each request gets one of its own once, and ends then.
            self._shared.leave(request)
            return None
        if others := self._shared.next_repositories(endpoint.registry, scope.repository, scope.actions):
            alike = [
                replace(request, scopes=Scope(other, scope.actions).words)
                for other in others
                if await self._credential(endpoint, other) == request.credential
            ]
            self._shared.share([request, *alike])
        shared = self._shared.find(request)
        if shared is None:
            return None
        try:
            return await self._token(shared)
        except (RegistryError, ContentError) as error:
            if isinstance(error, RegistryError) and error.status == 429:
                raise
            self._shared.end(shared)
            return None

    async def _token(self, request: TokenRequest, refused: Authorization | None = None) -> Token:
        token = self._tokens.get(request)
        if token is None or token.expires <= self._clock() or (refused and refused.value == token.header):
            token = await self._flights.join(request, lambda: self._renew(request))
        return token

    async def _renew(self, request: TokenRequest) -> Token:
        token = self._tokens[request] = await self._server.get(request)
        return token


def _choose(challenges: tuple[Challenge, ...]) -> Challenge | None:
    """Choose the challenge to answer: Bearer with a realm before Basic."""
    bearer = [challenge for challenge in challenges if challenge.scheme == "bearer" and challenge.realm]
    others = [challenge for challenge in challenges if challenge.scheme == "basic"]
    return next(iter(bearer + others), None)
