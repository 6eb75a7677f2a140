"""Exchanges: one request to a registry, at its endpoint and with its authorization, and the response."""

import asyncio
from collections.abc import AsyncIterator, Callable, Container, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from yarl import URL

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import InvalidValue, NetworkError, NotFound, RegistryError
from hangar_async.oci import parse_registry
from hangar_async.registry.auth.authorizer import Authorization, Authorizer, Endpoint, Scope, actions_of
from hangar_async.registry.auth.tokens import Challenge, challenges_of
from hangar_async.registry.failures import is_untrusted
from hangar_async.registry.http.addresses import host_of, is_internal, is_loopback, place_of, places_of, same_origin
from hangar_async.registry.http.request_body import Body
from hangar_async.registry.http.response import Response
from hangar_async.registry.http.transport import Transport
from hangar_async.singleflight import SingleFlight

#: Seconds that a server on this machine has to answer plain HTTP before HTTPS is tried too.
_HEAD_START = 1.0


class Endpoints:
    """The endpoints of registries, each found once by a request for `/v2/`.

    HTTPS comes first. Plain HTTP is used where HTTPS fails, for registries on this machine and where verification is
    off; a certificate that does not pass verification is no reason for it. On this machine, with a port, plain HTTP
    comes first: a server of TLS refuses it at once, and the CAs of the system are loaded only for one.
    Source: OCI distribution-spec, "Determining Support".
    """

    def __init__(
        self, settings: RegistrySettings, transport: Transport, flights: SingleFlight, notice: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._flights = flights
        self._notice = notice
        self._known: dict[str, Endpoint] = {}

    @property
    def any_internal(self) -> bool:
        """True when a registry on this machine or its link was used."""
        return any(endpoint.internal for endpoint in self._known.values())

    async def find(self, registry: str) -> Endpoint:
        """Return the endpoint of a registry; raises NetworkError where it cannot be reached."""
        if registry not in self._known:
            self._transport.named.update(places_of(registry))
            self._known[registry] = await self._flights.join(("endpoint", registry), lambda: self._discover(registry))
        return self._known[registry]

    async def _discover(self, registry: str) -> Endpoint:
        host = host_of(registry)
        secure = URL(f"https://{host}")
        if self._settings.verifies(registry) and not is_loopback(secure.host or ""):
            return await self._ping(registry, secure)
        async with asyncio.TaskGroup() as group:
            # Both at once, so that a distant registry costs no further round trip.
            plain = group.create_task(self._try(registry, URL(f"http://{host}")))
            if is_loopback(secure.host or "") and secure.explicit_port is not None:
                await asyncio.wait([plain], timeout=_HEAD_START)
                if plain.done() and isinstance(by_http := plain.result(), Endpoint) and by_http.speaks:
                    return self._plain_endpoint(by_http)
            by_https = await self._try(registry, secure)
            if isinstance(by_https, Endpoint) or is_untrusted(by_https):
                plain.cancel()
        if isinstance(by_https, Endpoint):
            return by_https
        if is_untrusted(by_https):
            raise by_https
        return self._plain(registry, by_https, plain.result())

    def _plain(self, registry: str, by_https: NetworkError, by_http: Endpoint | NetworkError) -> Endpoint:
        if isinstance(by_http, NetworkError):
            secure, plain = (str(error).removeprefix(f"{registry}: ") for error in (by_https, by_http))
            reason = f"{secure} (by HTTPS), {plain} (by HTTP)" if secure != plain else f"{plain}, by HTTPS or HTTP"
            missing = by_http.missing
            raise NetworkError(
                f"{registry}: {reason}", host=registry, advice=by_http.advice, missing=missing
            ) from by_http
        return self._plain_endpoint(by_http)

    def _plain_endpoint(self, endpoint: Endpoint) -> Endpoint:
        if not endpoint.internal:
            self._notice(f"{endpoint.registry} is asked by plain HTTP: nothing protects what is sent and received")
        return endpoint

    async def _try(self, registry: str, url: URL) -> Endpoint | NetworkError:
        try:
            return await self._ping(registry, url)
        except NetworkError as error:
            return error

    async def _ping(self, registry: str, url: URL) -> Endpoint:
        # Any response counts, also a redirect that is not followed: a fault shows at the first real request.
        challenges: tuple[Challenge, ...] = ()
        internal, speaks = is_internal(url.host or ""), False
        with suppress(RegistryError):
            async with await self._transport.send(url.join(URL("/v2/")), registry, headers={}) as response:
                await response.drain()
                if not response.redirected:
                    challenges, internal = challenges_of(response), response.internal
                    speaks = response.status in (200, 401)
        return Endpoint(registry, url, challenges, internal, speaks)


#: The statuses of a server that does not know the method HEAD.
NO_HEAD = (405, 501)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request about `subject`, as errors name it: to `path` below `/v2/REPOSITORY/` at a registry.

    `url` is an address that the registry has named instead, from this machine or its link where `internal`; without a
    registry it is a request to `url` alone. `push` needs the access to push, `delete` that to delete, `catalog` that to
    list all repositories, and `source_repository` the access to pull from there. A status that is not `accepted`
    becomes an error.
    """

    subject: str
    registry: str = ""
    repository: str = ""
    path: str = ""
    url: URL = URL()  # noqa: RUF009 - it is immutable
    internal: bool = False
    push: bool = False
    delete: bool = False
    catalog: bool = False
    source_repository: str = ""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = field(default=None, repr=False)
    accepted: Container[int] = (200,)

    @property
    def scope(self) -> Scope:
        """The access that it needs."""
        return Scope(
            self.repository,
            "*" if self.catalog else actions_of(push=self.push, delete=self.delete),
            self.source_repository,
        )


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
        """Make a call to a registry, and repeat it after a 401; the response must be read inside of the block.

        An address that is not at the registry gets no credentials; a registry to which this one redirects gets a token
        without any, unless it is named too. Raises RegistryErrors for responses that are not accepted, NetworkError,
        and errors of reading a request body.
        """
        async with await self._response(call) as response:
            yield response

    async def _response(self, call: Call) -> Response:
        """Make a call, and return a response that is accepted, which the caller closes."""
        endpoint = await self.endpoints.find(call.registry) if call.registry else None
        if endpoint is None or (call.url and not same_origin(endpoint.url, call.url)):
            return await self._ask_elsewhere(call, redirected=endpoint is not None)
        url = call.url or endpoint.at(f"{call.repository}/{call.path}" if call.repository else call.path)
        response = await self._ask_at(endpoint, url, call)
        if response.status in call.accepted:
            return response
        async with response:
            # The only other response is that of another registry, which wants a token.
            other, address = self._other_endpoint(response), response.url
            await response.drain()
        call = replace(call, internal=response.internal, push=False)
        self._authorizer.adopt(other, call.scope)
        response = await self._ask_at(other, address, call)
        if response.status not in call.accepted:
            raise await self._refusal(response, call)
        return response

    async def _ask_at(self, endpoint: Endpoint, url: URL, call: Call) -> Response:
        """Make a call to a URL of an endpoint; returns what is accepted, and the challenge of another registry."""
        authorization = await self._authorizer.authorize(endpoint, call.scope)
        tries = 0
        while True:
            tries += 1
            response = await self._send(url, endpoint.registry, call, authorization)
            if not response.redirected and authorization.may_lack(response.status, call.scope):
                await response.drain()
                # The next one is shared no more.
                authorization = await self._authorizer.authorize(endpoint, call.scope, authorization)
                continue
            if response.status in call.accepted or self._wants_login_elsewhere(response, call):
                return response
            error = await self._refusal(response, call, authorization.source)
            if response.status != 401 or response.redirected:
                raise error
            endpoint.challenges = challenges_of(response) or endpoint.challenges
            other = await self._authorizer.authorize_again(endpoint, call.scope, authorization, tries)
            if other is None:
                raise error
            authorization = other

    async def _refusal(self, response: Response, call: Call, source: str = "") -> RegistryError:
        """Make the error for a response, and close it."""
        async with response:
            return await response.refusal(call.subject, source, push=call.push)

    def _wants_login_elsewhere(self, response: Response, call: Call) -> bool:
        """Tell whether a request to read was redirected to another registry, which wants a token or a known login."""
        if not response.redirected or call.method not in ("GET", "HEAD"):
            return False
        named = place_of(response.url) in self.transport.named
        challenges = challenges_of(response)
        return any(named or (challenge.scheme == "bearer" and challenge.realm) for challenge in challenges)

    def _other_endpoint(self, response: Response) -> Endpoint:
        """Return the endpoint of a registry that another one has redirected to."""
        registry = response.host
        with suppress(InvalidValue):
            registry = parse_registry(registry)
        return Endpoint(
            registry,
            response.url.origin(),
            challenges_of(response),
            response.internal,
            anonymous=place_of(response.url) not in self.transport.named,
        )

    async def _ask_elsewhere(self, call: Call, *, redirected: bool) -> Response:
        sent = await self._send(call.url, call.url.host_port_subcomponent or "", call, Authorization())
        response = replace(sent, redirected=redirected or sent.redirected)
        if response.status not in call.accepted:
            raise await self._refusal(response, call)
        return response

    async def _send(self, url: URL, host: str, call: Call, authorization: Authorization) -> Response:
        return await self.transport.send(
            url,
            host,
            headers=call.headers,
            authorization=authorization.value,
            method=call.method,
            body=call.body,
            internal=call.internal,
        )
