"""A registry that makes its images up: each tag of each repository names an image, whose digest the tag tells.

    python -m benchmarks.programs.made_up

It answers what a mirror asks of an image that is unchanged. Its own HOST:PORT is the first line that it writes; it ends
when it is terminated.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import cast

from hangar_async.cli.loop import run_until_done

_END = b"\r\n\r\n"
_HEAD = "HTTP/1.1 {}\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n{}Content-Length: {}\r\n\r\n"


class _Connection(asyncio.Protocol):
    """A connection whose requests have no body, and are answered at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._data = b""

    def data_received(self, data: bytes) -> None:
        *requests, self._data = (self._data + data).split(_END)
        self._transport.write(b"".join(map(_answer, requests)))


def _answer(request: bytes) -> bytes:
    method, _, rest = request.decode("latin-1").partition(" ")
    name, mark, tag = rest.partition(" ")[0].partition("/manifests/")
    if mark and method == "HEAD":
        digest = hashlib.sha256(tag.encode()).hexdigest()
        return _HEAD.format("200 OK", f"Docker-Content-Digest: sha256:{digest}\r\n", 1000).encode()
    return _HEAD.format("200 OK" if name == "/v2/" else "404 Not Found", "", 0).encode()


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        print(f"{host}:{port}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    run_until_done(_serve, lambda text: None, "")
