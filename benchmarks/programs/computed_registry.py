"""A registry whose images are computed from their names: any number of them, and none of it in memory.

    python -m benchmarks.programs.computed_registry full|empty

Repositories `scale/N` have the tag v1: a manifest with a config of its own and two of 64 tiny layers. A full registry
has all of them; an empty one has none, takes what is pushed, and forgets it. Its own HOST:PORT is the first line that
it writes; it ends when it is terminated.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from functools import lru_cache
from typing import cast

from hangar_async.cli.loop import run_until_done
from hangar_async.oci import Digest
from hangar_async.oci.platform import Platform
from hangar_async.testing import images

REPOSITORY = "scale/{}"
TAG = "v1"
_LAYERS = 64
_REQUEST = re.compile(rb"([A-Z]+) (?:http://[^/ ]+)?/v2/(?:([^ ?]*)/(manifests|blobs)/([^ ?]*))?([^ ]*) ")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_END = b"\r\n\r\n"


@lru_cache(_LAYERS)
def _layer(number: int) -> images.Layer:
    return images.layer({f"share/{number}": b"%d" % number}, "gzip")


_shared = lru_cache(1)(lambda: {str(layer.digest): layer.data for layer in map(_layer, range(_LAYERS))})


@lru_cache(2000)
def _image(repository: str) -> images.Built:
    number = int.from_bytes(hashlib.sha256(repository.encode()).digest()[:4], "big")
    layers = [_layer(number % _LAYERS), _layer((number + 1) % _LAYERS)]
    return images.image(layers, Platform("linux", "amd64"), labels={"name": repository})


def _content(repository: str, kind: str, reference: str) -> tuple[str, str, bytes] | None:
    """Return the digest, the type and the bytes of content; None where it does not exist."""
    image = _image(repository)
    if kind == "manifests":
        found = reference in (TAG, str(image.digest))
        return (str(image.digest), image.media_type, image.raw) if found else None
    data = _shared().get(reference) or image.blobs.get(Digest.parse(reference))
    return None if data is None else (reference, "application/octet-stream", data)


class _Connection(asyncio.Protocol):
    """Answers the requests of a connection, one after the other."""

    def __init__(self, *, is_full: bool) -> None:
        self._is_full = is_full
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(_END)) >= 0:
            head = bytes(self._received[:end])
            length = _LENGTH.search(head)
            size = end + len(_END) + (int(length[1]) if length else 0)
            if len(self._received) < size:
                if b"100-continue" in head:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body = bytes(self._received[end + len(_END) : size])
            del self._received[:size]
            self._transport.write(self._answer(head, body))

    def _answer(self, head: bytes, body: bytes) -> bytes:
        match = _REQUEST.match(head)
        assert match is not None, head
        method, repository, kind, reference, rest = (part.decode() if part else "" for part in match.groups())
        if method in ("GET", "HEAD"):
            return self._read(repository, kind, reference, with_body=method == "GET")
        if method == "POST" and "mount=" in rest:
            return _response("201 Created", {"Location": f"/v2/{repository}/blobs/mounted"})
        if method == "POST":
            return _response("202 Accepted", {"Location": f"/v2/{repository}/blobs/uploads/one", "Range": "0-0"})
        digest = rest.partition("digest=")[2].replace("%3A", ":") or f"sha256:{hashlib.sha256(body).hexdigest()}"
        return _response("201 Created", {"Location": "/v2/there", "Docker-Content-Digest": digest})

    def _read(self, repository: str, kind: str, reference: str, *, with_body: bool) -> bytes:
        if not repository:
            return _response("200 OK", {})
        found = _content(repository, kind, reference.replace("%3A", ":")) if self._is_full else None
        if found is None:
            return _response("404 Not Found", {}, b'{"errors": [{"code": "NOT_FOUND"}]}', with_body=with_body)
        digest, media_type, data = found
        headers = {"Docker-Content-Digest": digest, "Content-Type": media_type}
        return _response("200 OK", headers, data, with_body=with_body)


def _response(status: str, headers: dict[str, str], body: bytes = b"", *, with_body: bool = True) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode()
    return head + body if with_body else head


async def _serve(*, is_full: bool) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(is_full=is_full), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"{host}:{port}", flush=True)
    await server.serve_forever()


def main() -> None:
    is_full = sys.argv[1] == "full"
    run_until_done(lambda: _serve(is_full=is_full), lambda text: None, "")


if __name__ == "__main__":
    main()
