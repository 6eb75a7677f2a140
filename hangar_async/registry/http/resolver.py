"""Names to addresses: those of servers that another server has named lead to no internal address."""

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection

from hangar_async.errors import NetworkError
from hangar_async.registry.http.addresses import is_internal


class OutsideResolver(AbstractResolver):
    """Resolves names to the addresses outside of this machine and its link; see `is_internal`.

    aiohttp connects to these addresses alone, so a name that changes its address later gains nothing by it.
    """

    def __init__(self) -> None:
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name; raises NetworkError where all are internal, and OSError."""
        found = await self._system.resolve(host, port, family)
        outside = [address for address in found if not is_internal(address["host"])]
        if not outside:
            raise refused_address(host)
        return outside

    async def close(self) -> None:
        """Close the resolver of the system."""
        await self._system.close()


def refused_address(host: str) -> NetworkError:
    """Make the error for a host that another server has named, and that is internal."""
    return NetworkError(
        f"{host} has an address on this machine or its link, where another server may not send us",
        host=host,
        transient=False,
        advice="if it is right, name the host: in the list, as a mirror, or as a [[registry]] of registries.conf",
    )


class PeerResponse(aiohttp.ClientResponse):
    """A response that knows the address that it came from; "" where there was none."""

    peer = ""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Note the address of the connection, which is given back when a body is empty."""
        if connection.transport is not None:
            self.peer = str((connection.transport.get_extra_info("peername") or [""])[0])
        return await super().start(connection)
