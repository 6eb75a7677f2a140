"""Many clients at once: each asks for one URL and reads the answer to its end; some take it slowly.

    python -m benchmarks.programs.clients HOST:PORT QUICK SLOW PATH SIZE [PATH SIZE ...]

Client N asks for the N-th path, around. SLOW clients take a little now and then until all QUICK ones are done, and go
then. Only the server is measured.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

_SIP = 16 << 10
_PAUSE = 0.05


class _Client(asyncio.Protocol):
    """Counts the bytes of a body."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._head = b""
        self._slow = False
        self.size = 0
        self.transport: asyncio.Transport | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if b"\r\n\r\n" not in self._head:
            self._head += data
            head, end, body = self._head.partition(b"\r\n\r\n")
            if end and not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(head.decode(errors="replace"))
            self.size += len(body)
        else:
            self.size += len(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def _connect(address: str, path: str) -> _Client:
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
    host, port = address.split(":")
    _, client = await asyncio.get_running_loop().create_connection(lambda: _Client(request), host, int(port))
    return client


async def _sip(address: str, path: str) -> None:
    """Take a little now and then."""
    reader, writer = await asyncio.open_connection(*address.split(":"), limit=_SIP)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        ended = False
        while not ended:
            ended = not await reader.read(_SIP)
            await asyncio.sleep(_PAUSE)
    finally:
        writer.close()


async def _run(address: str, quick: int, slow: int, wanted: list[tuple[str, int]]) -> None:
    around = itertools.cycle(wanted)
    sipping = [asyncio.create_task(_sip(address, next(around)[0])) for _ in range(slow)]
    asked = [next(around) for _ in range(quick)]
    clients = [await _connect(address, path) for path, _ in asked]
    for client, (path, size) in zip(clients, asked, strict=True):
        await client.over
        if client.size != size:
            raise SystemExit(f"{path} ended after {client.size} of {size} bytes")
    for task in sipping:
        task.cancel()
    for one in await asyncio.gather(*sipping, return_exceptions=True):
        if not isinstance(one, asyncio.CancelledError):
            raise SystemExit(f"a slow client ended: {one!r}")


def main() -> None:
    address, quick, slow, *rest = sys.argv[1:]
    wanted = list(zip(rest[::2], map(int, rest[1::2]), strict=True))
    asyncio.run(_run(address, int(quick), int(slow), wanted))


if __name__ == "__main__":
    main()
