"""Exchanges: one request to a registry, with its authorization, and the response."""

from collections.abc import AsyncIterator, Container, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from yarl import URL

from hangar_async.errors import NotFound
from hangar_async.registry.auth.tokens import challenges_of
from hangar_async.registry.authorizer import Authorization, Authorizer, Scope
from hangar_async.registry.endpoints import Endpoints
from hangar_async.registry.http.addresses import same_origin
from hangar_async.registry.http.request_body import Body
from hangar_async.registry.http.response import Response
from hangar_async.registry.http.transport import Transport

#: The statuses of a server that does not know the method HEAD.
NO_HEAD = (405, 501)
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request about `subject`, as errors name it: to `path` below `/v2/REPOSITORY/` at a registry.

    `url` is an address that the registry has named instead; without a registry it is a request to `url` alone. `push`
    needs the access to push, and `source_repository` the access to pull from there. A status that is not `accepted`
    becomes an error.
    """

    subject: str
    registry: str = ""
    repository: str = ""
    path: str = ""
    url: URL = URL()  # noqa: RUF009 - it is immutable
    push: bool = False
    source_repository: str = ""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS)
    body: Body | None = field(default=None, repr=False)
    accepted: Container[int] = (200,)

    @property
    def scope(self) -> Scope:
        """The access that it needs."""
        return Scope(self.repository, "pull,push" if self.push else "pull", self.source_repository)


class Exchange:
    """Sends requests to registries, at their endpoints and with authorization."""

    def __init__(self, transport: Transport, endpoints: Endpoints, authorizer: Authorizer) -> None:
        self.transport = transport
        self.endpoints = endpoints
        self._authorizer = authorizer

    async def ping(self, registry: str) -> bool:
        """Check that a host is a registry, and takes the credentials known for it; see RegistryClient.ping."""
        try:
            async with self.ask(Call(subject="its API", registry=registry, push=True)) as response:
                await response.drain()
                if "html" not in response.headers.get("Content-Type", "").lower():
                    return bool((await self.endpoints.find(registry)).challenges)
                status = response.status
        except NotFound as error:
            status = error.status
        raise NotFound(
            f"{registry} is no registry: it does not speak the protocol at /v2/",
            host=registry,
            status=status,
            advice="check name and port: a registry is HOST or HOST:PORT, the rest belongs to the images in it",
        )

    @asynccontextmanager
    async def ask(self, call: Call) -> AsyncIterator[Response]:
        """Make a call to a registry, once more after a 401; the response must be read inside of the block.

        An address that is not at the registry gets no credentials. Raises RegistryErrors for responses that are not
        accepted, NetworkError, and errors of reading a request body.
        """
        endpoint = await self.endpoints.find(call.registry) if call.registry else None
        if endpoint is None or (call.url and not same_origin(endpoint.url, call.url)):
            async with self._ask_elsewhere(call, redirected=endpoint is not None) as response:
                yield response
            return
        url = call.url or endpoint.at(f"{call.repository}/{call.path}" if call.repository else call.path)
        authorization = await self._authorizer.authorize(endpoint, call.scope)
        for is_last in (False, True):
            async with self._send(url, call.registry, call, authorization) as response:
                if response.status in call.accepted:
                    yield response
                    return
                error = await response.refusal(call.subject, authorization.source, push=call.push)
                if is_last or response.status != 401 or response.redirected:
                    raise error
                endpoint.challenges = challenges_of(response) or endpoint.challenges
            renewed = await self._authorizer.authorize(endpoint, call.scope, refused=authorization)
            if renewed == authorization:
                raise error
            authorization = renewed

    @asynccontextmanager
    async def _ask_elsewhere(self, call: Call, *, redirected: bool) -> AsyncIterator[Response]:
        async with self._send(call.url, call.url.host_port_subcomponent or "", call, Authorization()) as sent:
            response = replace(sent, redirected=redirected or sent.redirected)
            if response.status not in call.accepted:
                raise await response.refusal(call.subject, push=call.push)
            yield response

    def _send(
        self, url: URL, host: str, call: Call, authorization: Authorization
    ) -> AbstractAsyncContextManager[Response]:
        return self.transport.send(
            url, host, headers=call.headers, authorization=authorization.value, method=call.method, body=call.body
        )
