"""Pushes to a fake registry: as strict or as odd as a test wants it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.oci.digest import Digest
from hangar_async.server.responses import refusal
from hangar_async.testing import memory
from hangar_async.testing.memory import Session
from tests.fakes.faults import CUT, NoAnswer


class _Cut(Exception):
    pass


def docker_range(size: int) -> str:
    """Tell how much is there as docker-registry does: none and one byte look alike."""
    return f"0-{max(size - 1, 0)}"


@dataclass
class Pushes(memory.Pushes):
    """How pushes are answered; all of it may be changed while the registry runs.

    `minimum` is told as OCI-Chunk-Min-Length; a body of more than `largest` bytes is refused unread, as a proxy does
    it. With `mounts` False a mount opens an upload. A tag in `immutable` stays what it is. `report` makes the Range
    that is told of a size, `place` the Location of a path. With `complete` what a manifest names has to be there.
    `check_spans` compares a Content-Range with what is there; `drops` are how many bytes of each body are forgotten.
    """

    minimum: int | None = None
    largest: int | None = None
    mounts: bool = True
    immutable: set[str] = field(default_factory=set)
    complete: bool = True
    check_spans: bool = True
    #: Whether tags are deleted; docker-registry 2 deletes manifests by their digests alone.
    deletes_tags: bool = True
    drops: list[int] = field(default_factory=list)
    report: Callable[[int], str] = docker_range
    place: Callable[[str], str] = str
    #: Bytes of bodies of uploads that were read, request by request.
    received: list[int] = field(default_factory=list)

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await super().answer(request, handler)
        except _Cut:
            return NoAnswer(request[CUT].reset)

    async def open_session(self, request: web.Request, name: str) -> web.StreamResponse:
        if not self.mounts:
            request = request.clone(rel_url=request.path)
        answer = await super().open_session(request, name)
        if answer.status == 202 and self.minimum is not None:
            answer.headers["OCI-Chunk-Min-Length"] = str(self.minimum)
        return answer

    async def delete(self, name: str, reference: str) -> web.StreamResponse:
        if not self.deletes_tags and ":" not in reference:
            return refusal(405, "UNSUPPORTED", "The operation is unsupported.")
        return await super().delete(name, reference)

    async def receive(self, request: web.Request, name: str, key: str, session: Session) -> web.StreamResponse:
        if self.largest is not None and (request.content_length or 0) > self.largest:
            return web.Response(status=413, text="<html>too large</html>", content_type="text/html")
        self.received.append(0)
        return await super().receive(request, name, key, session)

    def session_headers(self, name: str, key: str, session: Session) -> dict[str, str]:
        place = self.place(f"/v2/{name}/blobs/uploads/{key}?_state=a%2Fb%3D")
        return {
            **super().session_headers(name, key, session),
            "Location": place,
            "Range": self.report(len(session.data)),
        }

    def is_next(self, start: int, session: Session) -> bool:
        return super().is_next(start, session) or not self.check_spans

    async def body(self, request: web.Request) -> AsyncIterator[bytes]:
        """Read a body, as far as a script lets it come, and keep it as far as nothing is forgotten."""
        uploads = "/uploads/" in request.path
        kept = request.content_length or 0
        if uploads and self.drops:
            kept -= self.drops.pop(0)
        rest = request[CUT].after if CUT in request else None
        while rest != 0 and (piece := await request.content.readany()):
            if rest is not None:
                piece = piece[:rest]
                rest -= len(piece)
            if uploads:
                self.received[-1] += len(piece)
            yield piece[:kept]
            kept -= len(piece[:kept])
        if CUT in request:
            raise _Cut

    async def is_immutable(self, name: str, tag: str, digest: Digest) -> bool:
        there = await self.content.resolve(name, tag)
        return there is not None and there.digest != digest and tag in self.immutable

    async def missing(self, name: str, document: dict[str, Any]) -> list[str]:
        return await super().missing(name, document) if self.complete else []
