"""Uploads: a blob on its way into a repository, in one piece or in several, gone on with after a break.

Source: OCI distribution-spec, "Pushing blobs".
"""

from __future__ import annotations

from contextlib import aclosing
from types import TracebackType
from typing import Self

from hangar_async.errors import (
    DigestMismatch,
    HangarError,
    Incomplete,
    NetworkError,
    NotFound,
    RegistryError,
    UploadLost,
)
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.blobs import has_blob
from hangar_async.registry.exchange import Exchange
from hangar_async.registry.http.request_body import Source, SourceReader
from hangar_async.registry.upload_session import UploadSession

#: Where a registry wants pieces, they are at least as large as this, if it takes them.
_PIECE = 32 << 20
#: Smaller pieces are not tried where larger ones are refused.
_SMALLEST = 64 << 10
#: How often in one try a registry may have other bytes than were sent before that try is given up.
_SETBACKS = 3
_LOST = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"})


class Upload:
    """An upload of a blob to an image's repository, which lives through tries that fail.

        async with client.upload(image, blob) as upload:
            while not upload.complete:          # the caller decides how often, and what it waits for
                await upload.send(source)

    A new one has cost no request. At the end of the block what is not complete is cancelled. Not for two tasks at once.
    """

    def __init__(self, exchange: Exchange, image: Reference, blob: Descriptor, largest: dict[str, int]) -> None:
        self.image = image
        self.blob = blob
        #: How many bytes the registry is known to have.
        self.offset = 0
        #: Whether the registry has all of it, and has compared the digest.
        self.complete = False
        self._exchange = exchange
        self._session = UploadSession(exchange, image, blob)
        self._largest = largest
        self._ceiling = blob.size
        # What became of the last request is not known: that is asked before the next one.
        self._unsure = False
        # The most bytes that were ever read to be sent, and that the registry ever said to have.
        self._furthest = self._confirmed = 0
        self._setbacks = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cancel()

    async def send(self, source: Source) -> None:
        """Try once to complete the upload, from where the registry has it; returns when the blob is there.

        It is one PUT; pieces by PATCH where the registry wants these, where it finds the whole too large, and for the
        rest after a break. `source` is opened at an offset, once unless something has to be sent again, and closed.
        What is held in memory is one piece of the source, and at most 256 KiB.

        Raises NetworkError, whose `gained` tells how many bytes more the registry turned out to have than were known
        before; UploadLost; DigestMismatch where the registry has got other bytes; other RegistryErrors; and whatever
        reading the source raises. Called again, it goes on where that is possible, else begins anew.
        """
        before = self._confirmed
        self._setbacks = 0
        reader = SourceReader(source, f"blob {self.blob.digest}")
        try:
            async with aclosing(reader):
                while not self.complete:
                    await self._step(reader)
        except NetworkError as error:
            error.gained = self._confirmed - before
            raise
        except RegistryError as error:
            meant = self._meant(error)
            if meant is error:
                raise
            raise meant from error
        finally:
            self._furthest = max(self._furthest, reader.furthest)

    async def cancel(self) -> None:
        """Tell the registry that what is not complete is given up; takes 2 seconds at most, and raises no error.

        A later send begins anew.
        """
        await self._session.cancel()
        self._restart()

    async def mount(self, source_repository: str) -> bool:
        """Have the registry mount the blob from another repository; False where it has to be sent.

        Source: OCI distribution-spec, "Mounting a blob from another repository".
        """
        try:
            self.complete = await self._session.mount(source_repository)
        except RegistryError as error:
            if error.transient and not isinstance(error, Incomplete):
                raise
        self._begin()
        return self.complete

    async def _step(self, reader: SourceReader) -> None:
        """Make the request that comes next, and see what it came to."""
        if self._session.address is None:
            await self._session.open()
            self._begin()
            return
        if self._unsure:
            self._furthest = max(self._furthest, reader.furthest)
            await self._look()
            return
        start, rest = self.offset, self.blob.size - self.offset
        whole = start == 0 and rest <= self._most
        length = rest if whole else min(rest, self._most)
        self._unsure = True
        try:
            if whole or not rest:
                await self._session.finish(reader.stream(0, length) if length else None)
                self._advance(self.blob.size)
                self.complete = True
            else:
                held = await self._session.append(start, reader.stream(start, length), length)
                self._appended(start + length, held)
        except RegistryError as error:
            self._refused(error, length)

    @property
    def _most(self) -> int:
        """How many bytes one request may send."""
        if not self._session.minimum:
            return self._ceiling
        return max(self._session.minimum, min(_PIECE, self._ceiling))

    def _begin(self) -> None:
        self._restart()
        self._ceiling = min(self._ceiling, self._largest.get(self.image.registry, self._ceiling))

    def _appended(self, end: int, held: int | None) -> None:
        """Note a piece that was taken; what the registry says to have is compared, where it says it."""
        if self._ceiling < self.blob.size and self.offset == 0:
            known = self._largest.get(self.image.registry, self._ceiling)
            self._largest[self.image.registry] = min(known, self._ceiling)
        if held in (None, end):
            self._advance(end)
        else:
            self._set_back()

    def _refused(self, error: RegistryError, length: int) -> None:
        """Find a better request where one was too large, or did not fit what is there; raises the error of others."""
        if error.status == 416:
            self._set_back()
        elif error.status == 413 and length // 2 >= max(self._session.minimum, _SMALLEST):
            # Whoever finds it too large has taken nothing of it.
            self._ceiling, self._unsure = length // 2, False
        else:
            raise error

    async def _look(self) -> None:
        """Ask how far the upload is; one that cannot be gone on with is begun anew."""
        held = await self._session.look()
        if held is not None and held <= min(self._furthest, self.blob.size):
            self._advance(held)
            return
        await self.cancel()
        # That it was complete may be all that was not heard.
        if self._furthest == self.blob.size and await has_blob(self._exchange, self.image, self.blob):
            self._advance(self.blob.size)
            self.complete = True
        else:
            self._set_back()

    def _advance(self, offset: int) -> None:
        self.offset, self._unsure = offset, False
        self._confirmed = max(self._confirmed, offset)

    def _restart(self) -> None:
        if not self.complete:
            self.offset, self._unsure = 0, False

    def _set_back(self) -> None:
        """Count that the registry has other bytes than were sent; raises UploadLost when that was too often."""
        self._setbacks += 1
        if self._setbacks > _SETBACKS:
            host = self.image.registry
            raise UploadLost(f"{host} does not go on with {self._session.what}", host=host, status=416)

    def _meant(self, error: RegistryError) -> HangarError:
        """Make of an answer what it means for the upload."""
        lost = error.code in _LOST or (isinstance(error, NotFound) and self._session.address is not None)
        if not (lost or error.code == "DIGEST_INVALID" or isinstance(error, UploadLost)):
            return error
        self._session.address = None
        self._restart()
        if error.code == "DIGEST_INVALID":
            return DigestMismatch(f"{error.host} got bytes of another digest: {error}", digest=str(self.blob.digest))
        return UploadLost(str(error), host=error.host, status=error.status, code=error.code)
