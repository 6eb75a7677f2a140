"""Built images, pushed to a real registry.

Source: OCI distribution-spec, "Push": blobs first, children before parents, the tag last.
"""

from __future__ import annotations

import io
import ssl

import aiohttp

from hangar_async.oci.digest import Digest
from hangar_async.testing.images import Built


async def push(
    registry: str,
    name: str,
    built: Built,
    *,
    authorization: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Digest:
    """Push an image to HOST:PORT as `REPOSITORY[:TAG]`, and return its digest."""
    repository, _, tag = name.partition(":")
    headers = {"Authorization": authorization} if authorization else {}
    connector = aiohttp.TCPConnector(ssl=tls) if tls else aiohttp.TCPConnector()
    base = f"{'https' if tls else 'http'}://{registry}"
    async with aiohttp.ClientSession(base, headers=headers, connector=connector) as session:
        for digest, data in built.blobs.items():
            await push_blob(session, repository, digest, data)
        for digest, (media_type, raw) in built.documents.items():
            await _put_manifest(session, repository, str(digest), media_type, raw)
        if tag:
            await _put_manifest(session, repository, tag, built.media_type, built.raw)
    return built.digest


async def push_blob(session: aiohttp.ClientSession, repository: str, digest: Digest, data: bytes) -> None:
    """Push a blob, in one piece; one that is there already is left."""
    async with session.head(f"/v2/{repository}/blobs/{digest}") as there:
        if there.status == 200:
            return
    async with session.post(f"/v2/{repository}/blobs/uploads/") as begun:
        assert begun.status == 202, await begun.text()
        place = begun.headers["Location"]
    async with session.put(f"{place}{'&' if '?' in place else '?'}digest={digest}", data=io.BytesIO(data)) as done:
        assert done.status == 201, await done.text()


async def _put_manifest(
    session: aiohttp.ClientSession, repository: str, reference: str, media_type: str, raw: bytes
) -> None:
    headers = {"Content-Type": media_type}
    async with session.put(f"/v2/{repository}/manifests/{reference}", data=raw, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
