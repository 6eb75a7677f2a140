"""What a fake registry takes: upload sessions, mounts and manifests, as strict or as odd as a test wants it.

Source: OCI distribution-spec 1.1, "Push"; what docker-registry does where that leaves room.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.errors import InvalidValue
from hangar_async.oci.digest import Digest
from hangar_async.server.answers import refusal
from hangar_async.server.content import MemoryContent
from tests.fakes.faults import CUT, NoAnswer

_UPLOADS = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<id>[^/]*)")
_MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")


def docker_range(size: int) -> str:
    """Tell how much is there as docker-registry does: none and one byte look alike."""
    return f"0-{max(size - 1, 0)}"


@dataclass
class Session:
    """An upload under way."""

    repository: str
    data: bytearray = field(default_factory=bytearray)


@dataclass
class Pushes:
    """How pushes are answered; all of it may be changed while the registry runs.

    `minimum` is told as OCI-Chunk-Min-Length; a body of more than `largest` bytes is refused unread, as a proxy does
    it. With `mounts` False a mount opens an upload. A tag in `immutable` stays what it is. `report` makes the Range
    that is told of a size, `place` the Location of a path. With `complete` what a manifest names has to be there.
    `check_spans` compares a Content-Range with what is there; `drops` are how many bytes of each body are forgotten.
    """

    content: MemoryContent
    minimum: int | None = None
    largest: int | None = None
    mounts: bool = True
    immutable: set[str] = field(default_factory=set)
    complete: bool = True
    check_spans: bool = True
    drops: list[int] = field(default_factory=list)
    report: Callable[[int], str] = docker_range
    place: Callable[[str], str] = str
    sessions: dict[str, Session] = field(default_factory=dict)
    #: Bytes of bodies that were read, request by request.
    received: list[int] = field(default_factory=list)

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request that pushes; any other is for the handler."""
        if found := _UPLOADS.fullmatch(request.path):
            return await self._upload(request, found["name"], found["id"])
        if request.method == "PUT" and (found := _MANIFEST.fullmatch(request.path)):
            return await self._manifest(request, found["name"], found["reference"])
        return await handler(request)

    async def _upload(self, request: web.Request, name: str, key: str) -> web.StreamResponse:
        if request.method == "POST" and not key:
            return await self._open(request, name)
        session = self.sessions.get(key)
        if session is None or session.repository != name:
            return refusal(404, "BLOB_UPLOAD_UNKNOWN", "the upload is not known")
        if request.method == "GET":
            return web.Response(status=204, headers=self._told(name, key, session))
        if request.method == "DELETE":
            del self.sessions[key]
            return web.Response(status=204)
        if request.method not in ("PATCH", "PUT"):
            return refusal(405, "UNSUPPORTED", "no such method")
        return await self._fill(request, name, key, session)

    async def _open(self, request: web.Request, name: str) -> web.StreamResponse:
        digest, origin = request.query.get("mount"), request.query.get("from", "")
        if digest and self.mounts and await self.content.size(origin, Digest.parse(digest)) is not None:
            found = Digest.parse(digest)
            size = await self.content.size(origin, found)
            data = b"".join([bytes(piece) async for piece in self.content.read(found, 0, size or 0)])
            self.content.add_blob(name, data, found.algorithm)
            return self._made(name, found)
        key = uuid.uuid4().hex
        self.sessions[key] = Session(name)
        headers = self._told(name, key, self.sessions[key])
        if self.minimum is not None:
            headers["OCI-Chunk-Min-Length"] = str(self.minimum)
        return web.Response(status=202, headers=headers)

    async def _fill(self, request: web.Request, name: str, key: str, session: Session) -> web.StreamResponse:
        if self.largest is not None and (request.content_length or 0) > self.largest:
            return web.Response(status=413, text="<html>too large</html>", content_type="text/html")
        span = re.fullmatch(r"([0-9]+)-([0-9]+)", request.headers.get("Content-Range", ""))
        if self.check_spans and span and int(span[1]) != len(session.data):
            error = refusal(416, "BLOB_UPLOAD_INVALID", "that is not what comes next")
            error.headers.update(self._told(name, key, session))
            return error
        self.received.append(0)
        async for piece in _body(request):
            session.data += piece
            self.received[-1] += len(piece)
        if self.drops:
            del session.data[-self.drops.pop(0) :]
        if CUT in request:
            return NoAnswer(request[CUT].reset)
        if request.method == "PATCH":
            return web.Response(status=202, headers=self._told(name, key, session))
        del self.sessions[key]
        digest, data = Digest.parse(request.query["digest"]), bytes(session.data)
        if Digest.of(data, digest.algorithm) != digest:
            return refusal(400, "DIGEST_INVALID", "the bytes have another digest")
        self.content.add_blob(name, data, digest.algorithm)
        return self._made(name, digest)

    def _told(self, name: str, key: str, session: Session) -> dict[str, str]:
        place = self.place(f"/v2/{name}/blobs/uploads/{key}?_state=a%2Fb%3D")
        return {"Location": place, "Range": self.report(len(session.data)), "Docker-Upload-UUID": key}

    def _made(self, name: str, digest: Digest) -> web.Response:
        headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": str(digest)}
        return web.Response(status=201, headers=headers)

    async def _manifest(self, request: web.Request, name: str, reference: str) -> web.StreamResponse:
        raw = b"".join([piece async for piece in _body(request)])
        if CUT in request:
            return NoAnswer(request[CUT].reset)
        try:
            document = json.loads(raw)
            missing = await self._missing(name, document) if self.complete else []
        except (ValueError, KeyError, TypeError, AttributeError, InvalidValue):
            return refusal(400, "MANIFEST_INVALID", "that is no manifest")
        if missing:
            return refusal(400, "MANIFEST_BLOB_UNKNOWN", "what it names is not there", {"digest": missing[0]})
        digest = Digest.of(raw, reference.partition(":")[0] if ":" in reference else "sha256")
        if ":" in reference and str(digest) != reference:
            return refusal(400, "DIGEST_INVALID", "the manifest has another digest")
        there = await self.content.resolve(name, reference) if ":" not in reference else None
        if there and there.digest != digest and reference in self.immutable:
            return refusal(412, "DENIED", "the tag is immutable")
        tags = [] if ":" in reference else [reference]
        self.content.add_manifest(name, raw, request.headers["Content-Type"], tags, digest.algorithm)
        headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": str(digest)}
        if "subject" in document:
            headers["OCI-Subject"] = document["subject"]["digest"]
        return web.Response(status=201, headers=headers)

    async def _missing(self, name: str, document: dict[str, Any]) -> list[str]:
        blobs = [document["config"]] if "config" in document else []
        blobs += [layer for layer in document.get("layers", ()) if "urls" not in layer]
        held: dict[str, object] = {}
        for one in blobs:
            held[one["digest"]] = await self.content.size(name, Digest.parse(one["digest"]))
        for one in document.get("manifests", ()):
            held[one["digest"]] = await self.content.resolve(name, Digest.parse(one["digest"]))
        return [digest for digest, found in held.items() if found is None]


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    """Read a body, as far as a script lets it come."""
    rest = request[CUT].after if CUT in request else None
    while rest != 0 and (piece := await request.content.readany()):
        if rest is not None:
            piece = piece[:rest]
            rest -= len(piece)
        yield piece
