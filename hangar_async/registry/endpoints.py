"""Endpoints: the address of a registry, and its challenges to clients."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from yarl import URL

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NetworkError, RegistryError
from hangar_async.oci import DOCKER_HUB
from hangar_async.registry.auth.tokens import Challenge, challenges_of
from hangar_async.registry.failures import is_untrusted
from hangar_async.registry.http.addresses import is_internal, is_loopback
from hangar_async.registry.http.transport import Transport
from hangar_async.singleflight import SingleFlight

_HUB_HOST = "registry-1.docker.io"


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
        """Return the URL of a path below `/v2/`; the path is made of checked names and is taken as it is."""
        return self.url.join(URL(f"/v2/{path}", encoded=True))


class Endpoints:
    """The endpoints of registries, each found once by a request for `/v2/`.

    HTTPS comes first. Plain HTTP is used where HTTPS fails, for registries on this machine and where verification is
    off; a certificate that does not pass verification is no reason for it.
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
        return any(endpoint.is_internal for endpoint in self._known.values())

    async def find(self, registry: str) -> Endpoint:
        """Return the endpoint of a registry; raises NetworkError where it cannot be reached."""
        if registry not in self._known:
            self._known[registry] = await self._flights.join(("endpoint", registry), lambda: self._discover(registry))
        return self._known[registry]

    async def _discover(self, registry: str) -> Endpoint:
        host = _HUB_HOST if registry == DOCKER_HUB else registry
        secure = URL(f"https://{host}")
        if self._settings.verifies(registry) and not is_loopback(secure.host or ""):
            return await self._ping(registry, secure)
        async with asyncio.TaskGroup() as group:
            # Both at once, so that a distant registry costs no further round trip.
            plain = group.create_task(self._try(registry, URL(f"http://{host}")))
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
            raise NetworkError(f"{registry}: {reason}", host=registry, advice=by_http.advice) from by_http
        if not by_http.is_internal:
            self._notice(f"{registry} is asked by plain HTTP: nothing protects what is sent and received")
        return by_http

    async def _try(self, registry: str, url: URL) -> Endpoint | NetworkError:
        try:
            return await self._ping(registry, url)
        except NetworkError as error:
            return error

    async def _ping(self, registry: str, url: URL) -> Endpoint:
        # Any response counts, also a redirect that is not followed: a fault shows at the first real request.
        challenges: tuple[Challenge, ...] = ()
        with suppress(RegistryError):
            async with self._transport.send(url.join(URL("/v2/")), registry, headers={}) as response:
                await response.drain()
                challenges = challenges_of(response)
        return Endpoint(registry, url, challenges)
