"""Tokens for several repositories: one request to a token server in place of one for each repository.

Source: Docker Registry v2 authentication, "Token Authentication": a client may name several scopes, and the server
grants those that it will.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from hangar_async.registry.auth.tokens import TokenRequest

#: The repositories of a token: it comes in a header, of which servers take 8 KiB.
_REPOSITORIES = 10
#: The repositories of a registry that a shared token may be refused for, before each gets its own.
_REFUSALS = 2


class SharedRequests:
    """The token requests of the repositories that a run is going to ask for, several in one.

    A server may grant less than it is asked for: a repository that the shared token is refused for gets its own.
    """

    def __init__(self) -> None:
        #: The repositories that have no token yet, by registry and actions, in the order in which they are needed.
        self._expected: dict[tuple[str, str], dict[str, None]] = {}
        #: The request that each request for one repository is a part of.
        self._shared: dict[TokenRequest, TokenRequest] = {}
        self._refusals: Counter[str] = Counter()

    def expect(self, registry: str, repositories: Iterable[str], actions: str) -> None:
        """Note the repositories of a registry that tokens for these actions will be needed for."""
        self._expected.setdefault((registry, actions), {}).update(dict.fromkeys(repositories))

    def next_repositories(self, registry: str, repository: str, actions: str) -> list[str]:
        """Take the repositories that can have one token with this one, which is needed now; none if it shares none."""
        expected = self._expected.get((registry, actions), {})
        if repository not in expected or self._refusals[registry] >= _REFUSALS:
            return []
        del expected[repository]
        taken = list(islice(expected, _REPOSITORIES - 1))
        for other in taken:
            del expected[other]
        return taken

    def share(self, requests: Sequence[TokenRequest]) -> None:
        """Make one request of those for one repository each."""
        shared = replace(requests[0], scopes=tuple(scope for request in requests for scope in request.scopes))
        self._shared.update(dict.fromkeys(requests, shared))

    def find(self, request: TokenRequest) -> TokenRequest | None:
        """Return the shared request whose token has all that a request asks for; None for none."""
        shared = self._shared.get(replace(request, scopes=request.scopes[:1]))
        if shared is None or not rights(request.scopes) <= rights(shared.scopes):
            return None
        return shared

    def leave(self, request: TokenRequest) -> None:
        """Leave a request to itself, whose shared token the registry refused."""
        self._refusals[request.registry] += 1
        self._shared.pop(replace(request, scopes=request.scopes[:1]), None)

    def end(self, shared: TokenRequest) -> None:
        """Leave all requests of the registry to themselves: its server refuses to be asked for several."""
        self._refusals[shared.registry] = _REFUSALS
        for scope in shared.scopes:
            self._shared.pop(replace(shared, scopes=(scope,)), None)


def rights(scopes: Iterable[str]) -> set[tuple[str, str]]:
    """Split scopes into pairs of a resource and an action on it."""
    pairs = (scope.rpartition(":") for scope in scopes)
    return {(name, action) for name, _, actions in pairs for action in actions.split(",")}
