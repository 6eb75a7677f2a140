"""Helpers of this room's tests: small servers on real sockets, a proxy before them, and clients of these."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import RegistryError
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.blobs import BlobBody
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.http.request_body import StreamedBody
from hangar_async.registry.manifests import ServedManifest
from hangar_async.registry.uploads import UploadSessions
from tests.fakes.registry import FakeRegistry, answering

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OCI = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = b'{"schemaVersion":2,"mediaType":"%s","config":{},"layers":[]}' % OCI.encode()


#: A user name and a password with a colon.
LOGIN = RegistrySettings(username="me", password="pass:word")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def describe(data: bytes, **changes: object) -> Descriptor:
    fields: dict[str, object] = {"media_type": "application/octet-stream", "digest": Digest.of(data), "size": len(data)}
    return Descriptor(**{**fields, **changes})  # type: ignore[arg-type]


DATA = random.Random(2).randbytes(5_000_000)
#: A blob that is longer than any buffer, and its bytes.
BLOB = describe(DATA)


@dataclass
class Lent:
    """A source that lends its content in one buffer, and spoils that when the next piece is asked for.

    `gate` is waited for before the piece of number `gated` is read.
    """

    data: bytes
    piece: int = 1 << 19
    gate: asyncio.Event | None = None
    gated: int = 0
    opened: list[int] = field(default_factory=list)
    closed: int = 0
    taken: int = 0

    def __call__(self, offset: int) -> AsyncIterator[bytes | memoryview]:
        return self._pieces(offset)

    async def _pieces(self, offset: int) -> AsyncIterator[memoryview]:
        self.opened.append(offset)
        buffer = bytearray(self.piece)
        try:
            for number, start in enumerate(range(offset, len(self.data), self.piece)):
                if self.gate and number == self.gated:
                    await self.gate.wait()
                part = self.data[start : start + self.piece]
                buffer[: len(part)] = part
                self.taken += len(part)
                yield memoryview(buffer)[: len(part)]
                buffer[:] = bytes([0xEE]) * self.piece
        finally:
            self.closed += 1

    def stream(self) -> StreamedBody:
        """All of it as a body."""
        return StreamedBody(len(self.data), "the content", lambda: self(0))

    @property
    def settled(self) -> bool:
        """Whether all that was opened is closed."""
        return self.closed == len(self.opened)


@asynccontextmanager
async def raw_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """Serve connections by hand; for what no HTTP server would do."""
    tasks: list[asyncio.Task[None]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await talk(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async with asyncio.TaskGroup() as group:
        server = await asyncio.start_server(
            lambda reader, writer: tasks.append(group.create_task(accept(reader, writer))),
            "127.0.0.1",
            0,
            ssl=tls,
        )
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in tasks:
                task.cancel()


async def request_head(reader: asyncio.StreamReader) -> tuple[str, Mapping[str, str]]:
    """Read a request's first line and headers (names in lower case); gives up on what is no HTTP, such as TLS."""
    if not (first := await reader.readexactly(1)).isalpha():
        raise ConnectionAbortedError
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in head[1:] if line)
    return head[0], {name.lower(): value.strip() for name, _, value in fields}


@dataclass
class Proxy:
    """A forward proxy that knows `routes`: HOST:PORT as asked for -> HOST:PORT where it really is."""

    routes: dict[str, str]
    address: str = ""
    lines: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        async with raw_server(self._talk) as self.address:
            yield self

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, headers = await request_head(reader)
        self.lines.append(line)
        self.headers.append(headers)
        method, target, _ = line.split(" ")
        name = target if method == "CONNECT" else target.split("/")[2]
        name = name if ":" in name else f"{name}:80"
        if name not in self.routes:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        host, port = self.routes[name].rsplit(":", 1)
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = "/" + target.split("/", 3)[3]
            own = ("connection", "proxy-authorization")
            head = "".join(f"{key}: {value}\r\n" for key, value in headers.items() if key not in own)
            there_writer.write(f"{method} {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pour(reader, there_writer))
                group.create_task(_pour(there_reader, writer))
        finally:
            there_writer.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()


def manifest_server(body: bytes = MANIFEST, status: int = 200, **headers: str) -> Handler:
    """Answer `/v2/` with 200, and everything else with this."""
    fields = {"Content-Type": OCI, **{name.replace("_", "-"): value for name, value in headers.items()}}

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/v2/":
            return web.json_response({})
        return web.Response(body=body, status=status, headers=fields)

    return handle


async def serve_manifest(request: web.Request) -> web.Response:
    return web.Response(body=MANIFEST)


async def pull(name: str, settings: RegistrySettings, notices: list[str] | None = None) -> bytes:
    """Get the bytes of a manifest with a client of its own."""
    async with RegistryClient(settings, notice=(notices if notices is not None else []).append) as client:
        return (await client.get_manifest(Reference.parse(name))).raw


async def get_manifest(
    handler: Handler, name: str = "app:v1", digest: Digest | None = None
) -> tuple[ServedManifest, FakeRegistry]:
    """Get a manifest from a server of its own."""
    async with answering(handler) as registry, RegistryClient(RegistrySettings()) as client:
        return await client.get_manifest(Reference.parse(f"{registry.address}/{name}"), digest), registry


async def manifest_error(handler: Handler, name: str = "app:v1") -> RegistryError:
    """Return the error of getting a manifest from a server of its own."""
    with pytest.raises(RegistryError) as caught:
        await get_manifest(handler, name)
    return caught.value


def blob_server(answer: Answer) -> Handler:
    """Answer `/v2/` with 200, and everything else by `answer`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response() if request.path == "/v2/" else await answer(request)

    return handle


async def serve_blob(request: web.Request) -> web.StreamResponse:
    return web.Response(body=DATA)


async def read_all(body: BlobBody) -> bytes:
    return b"".join([bytes(piece) async for piece in body.pieces()])


async def fetch_blob(
    settings: RegistrySettings, answer: Answer, blob: Descriptor = BLOB, start: int = 0
) -> tuple[int, list[bytes], FakeRegistry]:
    """Get a blob from a server of its own: its first byte, its pieces, and the server."""
    async with (
        answering(blob_server(answer)) as registry,
        RegistryClient(settings) as client,
        client.open_blob(Reference.parse(f"{registry.address}/team/app"), blob, start) as body,
    ):
        return body.start, [bytes(piece) async for piece in body.pieces()], registry


@asynccontextmanager
async def client_of(
    host: str = "", settings: RegistrySettings | None = None, sessions: UploadSessions | None = None
) -> AsyncIterator[RegistryClient]:
    """Open a client with one connection, and the credentials of `settings` for a host."""
    settings = settings or RegistrySettings()
    async with RegistryClient(settings, username_for=host, connections=1, sessions=sessions) as client:
        yield client


def image_at(registry: FakeRegistry, name: str = "team/app:v1") -> Reference:
    return Reference.parse(f"{registry.address}/{name}")


LAYER = b"layer" * 10_000
LAYER_BLOB = describe(LAYER)
ME = "Basic bWU6cGFzczp3b3Jk"  # me:pass:word


@dataclass
class Uploads:
    """A registry that wants to know who asks, and the place that it sends uploads to."""

    location: str = "/upload/1"
    wants: str | None = ME
    #: Answers before the right ones, by method.
    faults: dict[str, list[int]] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.Response:
        if self.wants and request.headers.get("Authorization") != self.wants:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="reg"'})
        if request.path == "/v2/":
            return web.Response()
        self.methods.append(request.method)
        self.bodies.append(await request.read())
        if self.faults.get(request.method):
            return web.Response(status=self.faults[request.method].pop(0))
        if request.method == "POST":
            return web.Response(status=202, headers={"Location": self.location})
        return web.Response(status={"PUT": 201, "PATCH": 202, "HEAD": 404}.get(request.method, 204))
