"""A registry in memory takes pushes: upload sessions, mounts and manifests.

Source: OCI distribution-spec 1.1, "Push"; what docker-registry does where that leaves room.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.errors import InvalidValue
from hangar_async.oci.digest import Digest
from hangar_async.server.responses import refusal
from hangar_async.testing.memory import MemoryContent

_UPLOADS = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<id>[^/]*)")
_MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")
_SPAN = re.compile(r"([0-9]+)-([0-9]+)")


@dataclass
class Session:
    """An upload under way."""

    repository: str
    data: bytearray = field(default_factory=bytearray)


@dataclass
class Pushes:
    """Puts into content what is pushed; a manifest only when all that it names is there, which has to fit into memory.

    It stands before an application that can only be read: see `middleware`.
    """

    content: MemoryContent
    sessions: dict[str, Session] = field(default_factory=dict)

    @property
    def middleware(self) -> Any:
        """What aiohttp puts before the application's handlers."""

        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self.answer(request, handler)

        return answer

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request that pushes; any other is for the handler."""
        try:
            if found := _UPLOADS.fullmatch(request.path):
                return await self._upload(request, found["name"], found["id"])
            if request.method == "PUT" and (found := _MANIFEST.fullmatch(request.path)):
                return await self._manifest(request, found["name"], found["reference"])
        except InvalidValue as error:
            return refusal(400, "DIGEST_INVALID", str(error))
        return await handler(request)

    async def opened(self, request: web.Request, name: str) -> web.StreamResponse:
        """Answer a POST: with the blob that is mounted, or a session."""
        digest, origin = request.query.get("mount"), request.query.get("from", "")
        size = await self.content.size(origin, Digest.parse(digest)) if digest else None
        if digest and size is not None:
            found = Digest.parse(digest)
            data = b"".join([bytes(piece) async for piece in self.content.read(found, 0, size)])
            self.content.add_blob(name, data, found.algorithm)
            return _made(name, found)
        key = uuid.uuid4().hex
        self.sessions[key] = Session(name)
        return web.Response(status=202, headers=self.told(name, key, self.sessions[key]))

    async def filled(self, request: web.Request, name: str, key: str, session: Session) -> web.StreamResponse:
        """Answer a PATCH, or the PUT that ends a session."""
        span = _SPAN.fullmatch(request.headers.get("Content-Range", ""))
        if span and not self.follows(int(span[1]), session):
            error = refusal(416, "BLOB_UPLOAD_INVALID", "that is not what comes next")
            error.headers.update(self.told(name, key, session))
            return error
        async for piece in self.body(request):
            session.data += piece
        if request.method == "PATCH":
            return web.Response(status=202, headers=self.told(name, key, session))
        digest, data = Digest.parse(request.query.get("digest", "")), bytes(session.data)
        del self.sessions[key]
        if Digest.of(data, digest.algorithm) != digest:
            return refusal(400, "DIGEST_INVALID", "the bytes have another digest")
        self.content.add_blob(name, data, digest.algorithm)
        return _made(name, digest)

    def told(self, name: str, key: str, session: Session) -> dict[str, str]:
        """Make the headers that say where an upload goes on, and how much of it is there."""
        # As docker-registry has it: none and one byte look alike.
        there = f"0-{max(len(session.data) - 1, 0)}"
        return {"Location": f"/v2/{name}/blobs/uploads/{key}", "Range": there, "Docker-Upload-UUID": key}

    def follows(self, start: int, session: Session) -> bool:
        """Whether a piece that begins at this byte is what comes next."""
        return start == len(session.data)

    def body(self, request: web.Request) -> AsyncIterator[bytes]:
        """Read a body in pieces."""
        return request.content.iter_any()

    async def keeps(self, name: str, tag: str, digest: Digest) -> bool:
        """Whether a tag stays what it is."""
        return False

    async def missing(self, name: str, document: dict[str, Any]) -> list[str]:
        """List the digests of what a manifest names and the repository lacks."""
        blobs = [document["config"]] if "config" in document else []
        blobs += [layer for layer in document.get("layers", ()) if "urls" not in layer]
        held: dict[str, object] = {}
        for one in blobs:
            held[one["digest"]] = await self.content.size(name, Digest.parse(one["digest"]))
        for one in document.get("manifests", ()):
            held[one["digest"]] = await self.content.resolve(name, Digest.parse(one["digest"]))
        return [digest for digest, found in held.items() if found is None]

    async def _upload(self, request: web.Request, name: str, key: str) -> web.StreamResponse:
        if request.method == "POST" and not key:
            return await self.opened(request, name)
        session = self.sessions.get(key)
        if session is None or session.repository != name:
            return refusal(404, "BLOB_UPLOAD_UNKNOWN", "the upload is not known")
        if request.method == "GET":
            return web.Response(status=204, headers=self.told(name, key, session))
        if request.method == "DELETE":
            del self.sessions[key]
            return web.Response(status=204)
        if request.method not in ("PATCH", "PUT"):
            return refusal(405, "UNSUPPORTED", "no such method")
        return await self.filled(request, name, key, session)

    async def _manifest(self, request: web.Request, name: str, reference: str) -> web.StreamResponse:
        raw = b"".join([piece async for piece in self.body(request)])
        try:
            document = json.loads(raw)
            missing = await self.missing(name, document)
            subject = document["subject"]["digest"] if "subject" in document else None
            media_type = request.headers.get("Content-Type") or document["mediaType"]
        except (ValueError, KeyError, TypeError, AttributeError, InvalidValue):
            return refusal(400, "MANIFEST_INVALID", "that is no manifest")
        if missing:
            return refusal(400, "MANIFEST_BLOB_UNKNOWN", "what it names is not there", {"digest": missing[0]})
        wanted = Digest.parse(reference) if ":" in reference else None
        digest = Digest.of(raw, wanted.algorithm if wanted else "sha256")
        if wanted not in (None, digest):
            return refusal(400, "DIGEST_INVALID", "the manifest has another digest")
        tags = [] if wanted else [reference]
        if tags and await self.keeps(name, reference, digest):
            return refusal(412, "DENIED", "the tag is immutable")
        self.content.add_manifest(name, raw, media_type, tags, digest.algorithm)
        headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": str(digest)}
        if subject is not None:
            headers["OCI-Subject"] = str(subject)
        return web.Response(status=201, headers=headers)


def _made(name: str, digest: Digest) -> web.Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": str(digest)}
    return web.Response(status=201, headers=headers)
