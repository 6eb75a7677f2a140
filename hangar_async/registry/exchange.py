"""Exchanges: one request to a registry and its answer, asked as whoever may ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from yarl import URL

from hangar_async.errors import NotFound
from hangar_async.registry.authorizer import Authorization, Authorizer, Scope
from hangar_async.registry.endpoints import Endpoint, Endpoints, challenges_of
from hangar_async.registry.failures import Refuse, push_refused, refused
from hangar_async.registry.http.redirects import same_origin
from hangar_async.registry.http.request_body import Body
from hangar_async.registry.http.response import Answer
from hangar_async.registry.http.transport import Transport

#: Answers of what does not know the method.
NO_HEAD = (405, 501)
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request: `path` is below `/v2/`, or `url` an address that the registry has named for it.

    `what` names in errors what is wanted, `scope` is what it needs to be allowed. An answer whose status is not among
    the `accepted` becomes the error that `refuse` makes.
    """

    what: str
    scope: Scope
    path: str = ""
    url: URL | None = None
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    body: Body | None = field(default=None, repr=False)
    accepted: Container[int] = (200,)
    refuse: Refuse = refused


class Exchange:
    """Asks registries, at the endpoints and with the authorization that they want."""

    def __init__(self, transport: Transport, endpoints: Endpoints, authorizer: Authorizer) -> None:
        self.transport = transport
        self._endpoints = endpoints
        self._authorizer = authorizer

    async def endpoint(self, registry: str) -> Endpoint:
        """Return where a registry is asked; raises NetworkError where it cannot be reached."""
        return await self._endpoints.find(registry)

    @property
    def asks_internal(self) -> bool:
        """Whether a registry on this machine or its link has been asked."""
        return any(endpoint.is_internal for endpoint in self._endpoints.known)

    async def ping(self, registry: str) -> bool:
        """Check that a host is a registry, and takes the credentials known for it; see RegistryClient.ping."""
        call = Call(what="its API", scope=Scope(), refuse=push_refused)
        try:
            async with self.ask(registry, call) as answer:
                page = "html" in answer.headers.get("Content-Type", "").lower()
                await answer.drain()
        except NotFound as error:
            raise _no_registry(registry, error.status) from error
        if page:
            raise _no_registry(registry, 200)
        return bool((await self.endpoint(registry)).challenges)

    @asynccontextmanager
    async def ask(self, registry: str, call: Call) -> AsyncIterator[Answer]:
        """Make a call to a registry, once more after a 401; the answer is to be read inside of the block.

        An address that is not at the registry gets no credentials. Raises RegistryErrors for answers that are not
        accepted, NetworkError, and what reading a body raises.
        """
        endpoint = await self._endpoints.find(registry)
        url = endpoint.at(call.path) if call.url is None else call.url
        if not same_origin(endpoint.url, url):
            async with self.ask_elsewhere(replace(call, url=url), redirected=True) as answer:
                yield answer
            return
        granted = await self._authorizer.authorize(endpoint, call.scope)
        for is_last in (False, True):
            async with self._send(url, registry, call, granted) as answer:
                if answer.status in call.accepted:
                    yield answer
                    return
                error = await answer.refusal(call.what, granted.source, call.refuse)
                if is_last or answer.status != 401 or answer.redirected:
                    raise error
                endpoint.challenges = challenges_of(answer) or endpoint.challenges
            renewed = await self._authorizer.authorize(endpoint, call.scope, refused=granted)
            if renewed == granted:
                raise error
            granted = renewed

    @asynccontextmanager
    async def ask_elsewhere(self, call: Call, *, redirected: bool = False) -> AsyncIterator[Answer]:
        """Make a call to the address `call.url`, which is at no registry, without credentials; see `ask`.

        `redirected` says that a registry has named it for this request.
        """
        url = call.url or URL()
        async with self._send(url, url.host_port_subcomponent or "", call, Authorization()) as sent:
            answer = replace(sent, redirected=redirected or sent.redirected)
            if answer.status not in call.accepted:
                raise await answer.refusal(call.what, refuse=call.refuse)
            yield answer

    def _send(self, url: URL, host: str, call: Call, granted: Authorization) -> AbstractAsyncContextManager[Answer]:
        return self.transport.send(
            url, host, headers=call.headers, authorization=granted.value, method=call.method, body=call.body
        )


def _no_registry(registry: str, status: int) -> NotFound:
    return NotFound(
        f"{registry} is no registry: it does not speak the protocol at /v2/",
        host=registry,
        status=status,
        advice="check name and port: a registry is HOST or HOST:PORT, what follows belongs to the images in it",
    )
