"""A registry in memory: the content that it serves, pushes into it, and the tags that are deleted there."""

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.errors import InvalidValue
from hangar_async.oci import PIECE, Descriptor, Digest, Referrer, parse_manifest, referrer_of
from hangar_async.server.responses import refusal
from hangar_async.testing.images import Built


@dataclass(slots=True)
class _MemoryRepository:
    manifests: dict[Digest, str] = field(default_factory=dict)
    blobs: set[Digest] = field(default_factory=set)
    tags: dict[str, Digest] = field(default_factory=dict)


class MemoryContent:
    """Content that is added piece by piece and kept in memory; bytes of several repositories are kept once."""

    def __init__(self) -> None:
        self._data: dict[Digest, bytes] = {}
        self._repositories: dict[str, _MemoryRepository] = {}

    def add_blob(self, repository: str, data: bytes, algorithm: str = "sha256") -> Digest:
        """Put a blob into a repository, and return its digest."""
        digest = Digest.of(data, algorithm)
        self._data[digest] = data
        self._at(repository).blobs.add(digest)
        return digest

    def add_manifest(
        self, repository: str, raw: bytes, media_type: str, tags: Iterable[str] = (), algorithm: str = "sha256"
    ) -> Digest:
        """Put a manifest or index into a repository, under these tags too; its blobs need not be there."""
        digest = Digest.of(raw, algorithm)
        self._data[digest] = raw
        self._at(repository).manifests[digest] = media_type
        for tag in tags:
            self.tag(repository, tag, digest)
        return digest

    def add(self, name: str, built: Built) -> Digest:
        """Put a built image with its blobs into a repository, as `REPOSITORY[:TAG]`, and return its digest."""
        repository, _, tag = name.partition(":")
        for data in built.blobs.values():
            self.add_blob(repository, data)
        for media_type, raw in built.documents.values():
            self.add_manifest(repository, raw, media_type)
        if tag:
            self.tag(repository, tag, built.digest)
        return built.digest

    def tag(self, repository: str, tag: str, digest: Digest) -> None:
        """Let a tag name a manifest of the repository; a tag that is there already moves."""
        repo = self._at(repository)
        if digest not in repo.manifests:
            raise InvalidValue(f"{repository} has no manifest {digest}")
        repo.tags[tag] = digest

    def untag(self, repository: str, tag: str) -> bool:
        """Remove a tag, and leave what it names; tell whether it was there."""
        return self._at(repository).tags.pop(tag, None) is not None

    def remove(self, repository: str, digest: Digest) -> None:
        """Remove a manifest or blob from a repository, with its tags."""
        repo = self._at(repository)
        repo.blobs.discard(digest)
        repo.manifests.pop(digest, None)
        for tag in [tag for tag, target in repo.tags.items() if target == digest]:
            del repo.tags[tag]

    def of_registry(self, registry: str) -> Self:
        """Return all of it: it serves as every registry."""
        return self

    async def repositories(self) -> Sequence[str]:
        """Name the repositories, sorted."""
        return sorted(self._repositories)

    async def tags(self, repository: str) -> Sequence[str] | None:
        """Name the tags of a repository, sorted; None where it does not exist."""
        repo = self._repositories.get(repository)
        return None if repo is None else sorted(repo.tags)

    async def resolve(self, repository: str, reference: str | Digest) -> Descriptor | None:
        """Find a manifest or index of a repository by its tag or digest."""
        repo = self._repositories.get(repository)
        if repo is None:
            return None
        digest = reference if isinstance(reference, Digest) else repo.tags.get(reference)
        if digest is None or digest not in repo.manifests:
            return None
        return Descriptor(repo.manifests[digest], digest, len(self._data[digest]))

    async def size(self, repository: str, digest: Digest) -> int | None:
        """Tell the size in bytes of a blob of a repository; None where it has no such blob."""
        repo = self._repositories.get(repository)
        return len(self._data[digest]) if repo is not None and digest in repo.blobs else None

    async def referrers(self, repository: str, digest: Digest) -> Sequence[Referrer]:
        """List the referrers of a manifest in a repository."""
        repo = self._at(repository) if repository in self._repositories else _MemoryRepository()
        documents = (parse_manifest(self._data[key], kind, key.algorithm) for key, kind in repo.manifests.items())
        referrers = map(referrer_of, documents)
        return [referrer for referrer in referrers if referrer is not None and referrer.subject == digest]

    async def read(self, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """Read the bytes from `start` up to `stop`, in pieces of 1 MiB."""
        view = memoryview(self._data[digest])[start:stop]
        for position in range(0, len(view), PIECE):
            yield view[position : position + PIECE]

    def _at(self, repository: str) -> _MemoryRepository:
        return self._repositories.setdefault(repository, _MemoryRepository())


_UPLOADS = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<id>[^/]*)")
_MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")
_SPAN = re.compile(r"([0-9]+)-([0-9]+)")


@dataclass
class Session:
    """An upload session."""

    repository: str
    data: bytearray = field(default_factory=bytearray)


@dataclass
class Pushes:
    """Puts pushed blobs and manifests into content; a manifest only after all that it names. All fits into memory.

    A tag is deleted alone; a manifest with all its tags. Its `middleware` comes before a read-only application.
    """

    content: MemoryContent
    sessions: dict[str, Session] = field(default_factory=dict)

    @property
    def middleware(self) -> Any:
        """The middleware that aiohttp puts before the handlers of the application."""

        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self.answer(request, handler)

        return answer

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request that pushes; any other is for the handler."""
        try:
            if match := _UPLOADS.fullmatch(request.path):
                return await self._upload(request, match["name"], match["id"])
            if request.method == "PUT" and (match := _MANIFEST.fullmatch(request.path)):
                return await self._manifest(request, match["name"], match["reference"])
            if request.method == "DELETE" and (match := _MANIFEST.fullmatch(request.path)):
                return await self.delete(match["name"], match["reference"])
        except InvalidValue as error:
            return refusal(400, "DIGEST_INVALID", str(error))
        return await handler(request)

    async def delete(self, name: str, reference: str) -> web.StreamResponse:
        """Answer a DELETE of a tag, or of a manifest by its digest."""
        digest = Digest.parse(reference) if ":" in reference else None
        if await self.content.resolve(name, digest or reference) is None:
            return refusal(404, "MANIFEST_UNKNOWN", "the manifest is not there")
        if digest is None:
            self.content.untag(name, reference)
        else:
            self.content.remove(name, digest)
        return web.Response(status=202)

    async def open_session(self, request: web.Request, name: str) -> web.StreamResponse:
        """Answer a POST: with the blob that is mounted, or a session."""
        mount, source = request.query.get("mount"), request.query.get("from", "")
        digest = Digest.parse(mount) if mount else None
        size = await self.content.size(source, digest) if digest else None
        if digest and size is not None:
            data = b"".join([bytes(piece) async for piece in self.content.read(digest, 0, size)])
            self.content.add_blob(name, data, digest.algorithm)
            return _created(name, digest)
        key = uuid.uuid4().hex
        self.sessions[key] = Session(name)
        return web.Response(status=202, headers=self.session_headers(name, key, self.sessions[key]))

    async def receive(self, request: web.Request, name: str, key: str, session: Session) -> web.StreamResponse:
        """Answer a PATCH, or the PUT that ends a session."""
        span = _SPAN.fullmatch(request.headers.get("Content-Range", ""))
        if span and not self.is_next(int(span[1]), session):
            error = refusal(416, "BLOB_UPLOAD_INVALID", "the piece does not follow the last one")
            error.headers.update(self.session_headers(name, key, session))
            return error
        async for piece in self.body(request):
            session.data += piece
        if request.method == "PATCH":
            return web.Response(status=202, headers=self.session_headers(name, key, session))
        digest, data = Digest.parse(request.query.get("digest", "")), bytes(session.data)
        del self.sessions[key]
        if Digest.of(data, digest.algorithm) != digest:
            return refusal(400, "DIGEST_INVALID", "the bytes have another digest")
        self.content.add_blob(name, data, digest.algorithm)
        return _created(name, digest)

    def session_headers(self, name: str, key: str, session: Session) -> dict[str, str]:
        """Make the headers with the address of a session, and the range of its bytes."""
        # As docker-registry writes it: no byte and one byte look alike.
        received = f"0-{max(len(session.data) - 1, 0)}"
        return {"Location": f"/v2/{name}/blobs/uploads/{key}", "Range": received, "Docker-Upload-UUID": key}

    def is_next(self, start: int, session: Session) -> bool:
        """Tell whether a piece that begins at this byte follows the last one."""
        return start == len(session.data)

    def body(self, request: web.Request) -> AsyncIterator[bytes]:
        """Read a body in pieces."""
        return request.content.iter_any()

    async def is_immutable(self, name: str, tag: str, digest: Digest) -> bool:
        """Tell whether a tag must keep its digest."""
        return False

    async def missing(self, name: str, document: dict[str, Any]) -> list[str]:
        """List the digests that a manifest names and the repository lacks."""
        blobs = [document["config"]] if "config" in document else []
        blobs += [layer for layer in document.get("layers", ()) if "urls" not in layer]
        content: dict[str, object] = {}
        for blob in blobs:
            content[blob["digest"]] = await self.content.size(name, Digest.parse(blob["digest"]))
        for entry in document.get("manifests", ()):
            digest = Digest.parse(entry["digest"])
            # As docker-registry: an entry may be a blob.
            found = await self.content.resolve(name, digest)
            content[entry["digest"]] = await self.content.size(name, digest) if found is None else found
        return [digest for digest, value in content.items() if value is None]

    async def _upload(self, request: web.Request, name: str, key: str) -> web.StreamResponse:
        if request.method == "POST" and not key:
            return await self.open_session(request, name)
        session = self.sessions.get(key)
        if session is None or session.repository != name:
            return refusal(404, "BLOB_UPLOAD_UNKNOWN", "the upload is not known")
        if request.method == "GET":
            return web.Response(status=204, headers=self.session_headers(name, key, session))
        if request.method == "DELETE":
            del self.sessions[key]
            return web.Response(status=204)
        if request.method not in ("PATCH", "PUT"):
            return refusal(405, "UNSUPPORTED", "no such method")
        return await self.receive(request, name, key, session)

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
            return refusal(
                400,
                "MANIFEST_BLOB_UNKNOWN",
                "the repository lacks a blob or manifest that it names",
                {"digest": missing[0]},
            )
        expected = Digest.parse(reference) if ":" in reference else None
        digest = Digest.of(raw, expected.algorithm if expected else "sha256")
        if expected not in (None, digest):
            return refusal(400, "DIGEST_INVALID", "the manifest has another digest")
        tags = [] if expected else [reference]
        if tags and await self.is_immutable(name, reference, digest):
            return refusal(412, "DENIED", "the tag is immutable")
        self.content.add_manifest(name, raw, media_type, tags, digest.algorithm)
        headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": str(digest)}
        if subject is not None:
            headers["OCI-Subject"] = str(subject)
        return web.Response(status=201, headers=headers)


def _created(name: str, digest: Digest) -> web.Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": str(digest)}
    return web.Response(status=201, headers=headers)
