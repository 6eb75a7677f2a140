"""Uploads: a blob is sent to a repository, in one piece or in several, and continued after a break.

Source: OCI distribution-spec, "Pushing blobs"; Docker Registry HTTP API V2, "Blob Upload".
"""

from contextlib import aclosing
from typing import Protocol, Self

from yarl import URL

from hangar_async.errors import (
    DigestMismatch,
    Incomplete,
    NetworkError,
    NotFound,
    RegistryError,
    SourceError,
    UploadLost,
)
from hangar_async.oci import Descriptor, OpenPieces, Reference
from hangar_async.registry.blobs import has_blob
from hangar_async.registry.exchange import Exchange
from hangar_async.registry.failures import NOT_THERE
from hangar_async.registry.http.request_body import SourceBlob
from hangar_async.registry.http.response import CHANGED_ADVICE
from hangar_async.registry.upload_session import UploadSession

#: The size in bytes of pieces where a registry wants these, unless it asks for larger ones.
_PIECE = 32 << 20
#: No smaller pieces are tried where larger ones are refused, in bytes.
_SMALLEST = 64 << 10
#: The most conflicts of one try: the registry has other bytes than were sent.
_MAX_CONFLICTS = 3
_LOST = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"})


class UploadSessions(Protocol):
    """A memory of upload sessions that outlives the process; which blobs are worth it is its own matter."""

    def session(self, image: Reference, blob: Descriptor) -> str:
        """Return the address of the session in which a blob was on its way to a repository, "" for none."""
        ...

    async def note_session(self, image: Reference, blob: Descriptor, address: str, offset: int) -> None:
        """Note the session in which a blob is on its way, and the byte that it has reached."""
        ...

    async def forget_session(self, image: Reference, blob: Descriptor, *, is_there: bool = False) -> None:
        """Forget the session of a blob: the registry does not know it, or the blob itself is there."""
        ...


class NoSessions:
    """A memory that keeps nothing."""

    def session(self, image: Reference, blob: Descriptor) -> str:
        """Return "": none is known."""
        return ""

    async def note_session(self, image: Reference, blob: Descriptor, address: str, offset: int) -> None:
        """Keep nothing."""

    async def forget_session(self, image: Reference, blob: Descriptor, *, is_there: bool = False) -> None:
        """Do nothing: none is known."""


class Upload:
    """An upload of a blob to the repository of an image, over several tries.

        async with client.upload(image, blob) as upload:
            while not upload.complete:          # the caller counts the tries and waits between them
                await upload.send(open_pieces)

    A new one sends no request. With `may_be_there` its first one is the mount of the blob from its own repository. That
    costs no more than the opening of a session, and sends nothing where the blob is there. It goes on in the session of
    an earlier run that `sessions` know. At the end of the block it is cancelled unless it is complete, or its session
    is kept there for the next run. One task may use it.
    """

    def __init__(
        self,
        exchange: Exchange,
        image: Reference,
        blob: Descriptor,
        largest: dict[str, int],
        sessions: UploadSessions,
        *,
        may_be_there: bool = False,
    ) -> None:
        self.image = image
        self.blob = blob
        #: True when the repository had the blob already, so that no byte was sent.
        self.was_there = False
        #: True when the registry has answered a mount by an error.
        self.mount_refused = False
        self.may_be_there = may_be_there
        #: The number of bytes that the registry is known to have.
        self.offset = 0
        #: The number of bytes that an earlier run had sent.
        self.resumed = 0
        #: True when the registry has all bytes, and has compared the digest.
        self.complete = False
        self._exchange = exchange
        self._session = UploadSession(exchange, image, blob)
        self._sessions = sessions
        # The session may be one of an earlier run, about which nothing is known yet; that is tried once.
        self._is_earlier = False
        self._earlier = self._sessions.session(image, blob)
        # The largest body that each registry was found to take, of all uploads; and the one that this upload tries.
        self._largest = largest
        self._limit = blob.size
        # The outcome of the last request is not known: the next request asks for it.
        self._uncertain = False
        # The most bytes that were ever read to be sent, and that the registry ever confirmed.
        self._furthest = self._confirmed = 0
        self._conflicts = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        kept = self._sessions.session(self.image, self.blob)
        if not kept or kept != str(self._session.address):
            await self.cancel()

    async def send(self, source: OpenPieces) -> None:
        """Try once to complete the upload, from the byte that the registry has reached; returns when the blob is there.

        It is one PUT; pieces by PATCH where the registry wants these, where the whole is too large for it, and for the
        rest after a break. `source` is opened at an offset, once unless bytes must be sent again, and closed.
        One piece of the source is held in memory, and at most 256 KiB.

        Raises NetworkError and SourceError, whose `gained` is the number of bytes that the registry has confirmed in
        this try; UploadLost; DigestMismatch where the registry received other bytes; other RegistryErrors; and other
        errors of the source. A further call continues where that is possible, else it starts from the beginning.
        """
        before = self._confirmed
        self._conflicts = 0
        blob = SourceBlob(source, f"blob {self.blob.digest}")
        try:
            async with aclosing(blob):
                while not self.complete:
                    await self._step(blob)
                    await self._note()
        except (NetworkError, SourceError) as error:
            error.gained = self._confirmed - before
            raise
        except RegistryError as error:
            translated = self._translated(error)
            if translated is error:
                raise
            await self.cancel()
            raise translated from error
        finally:
            self._furthest = max(self._furthest, blob.furthest)

    async def cancel(self) -> None:
        """Cancel an incomplete upload at the registry; takes 2 seconds at most, and raises no error.

        A later send starts from the beginning.
        """
        await self._session.cancel()
        await self._sessions.forget_session(self.image, self.blob)
        self._restart()

    async def mount(self, source_repository: str) -> bool:
        """Have the registry mount the blob from another repository; False where it must be sent.

        Source: OCI distribution-spec, "Mounting a blob from another repository".
        """
        try:
            self.complete = await self._session.mount(source_repository)
        except RegistryError as error:
            if error.transient and not isinstance(error, Incomplete):
                raise
            self.mount_refused = True
        self._begin()
        if self._session.address:
            self._earlier = ""  # the new session is used
        await self._note()
        return self.complete

    async def _note(self) -> None:
        """Keep the session for a later run, or forget that of a blob that is there."""
        if self.complete:
            await self._sessions.forget_session(self.image, self.blob, is_there=True)
        elif self._session.address and not self._is_earlier:
            await self._sessions.note_session(self.image, self.blob, str(self._session.address), self.offset)

    async def _step(self, blob: SourceBlob) -> None:
        """Make the next request, and note its outcome."""
        if self._earlier:
            await self._adopt()
            return
        if not self._session.address:
            if self.may_be_there:
                self.was_there = await self.mount(self.image.repository)
                self.may_be_there = False
            else:
                await self._session.open()
                self._begin()
            return
        if self._uncertain:
            self._furthest = max(self._furthest, blob.furthest)
            await self._ask_offset()
            return
        start, rest, most = self.offset, self.blob.size - self.offset, self._most
        length = min(rest, most)
        self._uncertain = True
        try:
            if not rest or (start == 0 and rest <= most):
                await self._session.finish(blob.body(0, length) if length else None)
                # An answer before the last byte may be that of something between here and the registry.
                if not length or blob.offset == length or await has_blob(self._exchange, self.image, self.blob):
                    self._finished()
                else:
                    self._conflict()
            else:
                received = await self._session.append(start, blob.body(start, length), length)
                self._appended(start + length, received)
        except RegistryError as error:
            self._adapt(error, length)

    @property
    def _most(self) -> int:
        """The number of bytes that one request may send."""
        if not self._session.minimum:
            return self._limit
        return max(self._session.minimum, min(_PIECE, self._limit))

    def _begin(self) -> None:
        self._restart()
        self._limit = min(self._limit, self._largest.get(self.image.registry, self._limit))

    def _appended(self, end: int, received: int | None) -> None:
        """Note a piece that was taken, and compare the offset with that of the registry, where it sends it."""
        if self._limit < self.blob.size and self.offset == 0:
            known = self._largest.get(self.image.registry, self._limit)
            self._largest[self.image.registry] = min(known, self._limit)
        if received in (None, end):
            self._advance(end)
        else:
            self._conflict()

    def _adapt(self, error: RegistryError, length: int) -> None:
        """Find a better request where one was too large, or its offset was wrong; raises any other error."""
        if error.status == 416:
            self._conflict()
        elif error.status == 413 and length // 2 >= max(self._session.minimum, _SMALLEST):
            # A server that refuses a large request has taken no bytes of it.
            self._limit, self._uncertain = length // 2, False
        else:
            raise error

    async def _adopt(self) -> None:
        """Take the session of an earlier run, whose offset is asked for next."""
        try:
            await self._session.adopt(self._earlier)
        except RegistryError:
            self._earlier = ""
            await self._sessions.forget_session(self.image, self.blob)
            return
        self._earlier = ""
        # All of its bytes may have been sent.
        self._is_earlier = self._uncertain = True
        self._furthest = self.blob.size

    async def _offset(self) -> int | None:
        """Ask for the offset of the upload; None where it cannot be continued."""
        try:
            offset = await self._session.offset()
        except (RegistryError, NetworkError) as error:
            # A session of an earlier run may be refused in any way, or be at a host that is gone.
            if not self._is_earlier or (error.transient and error.host == self.image.registry):
                raise
            offset = None
        if self._is_earlier and offset is not None and offset <= self.blob.size:
            self.resumed = offset
        self._is_earlier = False
        return offset

    async def _ask_offset(self) -> None:
        """Ask for the offset of the upload; one that cannot be continued starts again."""
        offset = await self._offset()
        if offset is not None and offset <= min(self._furthest, self.blob.size):
            self._advance(offset)
            return
        await self.cancel()
        # Perhaps only the response that it is complete was lost.
        if self._furthest == self.blob.size and await has_blob(self._exchange, self.image, self.blob):
            self._finished()
        else:
            self._conflict()

    def _finished(self) -> None:
        self._advance(self.blob.size)
        self.complete = True

    def _advance(self, offset: int) -> None:
        self.offset, self._uncertain = offset, False
        self._confirmed = max(self._confirmed, offset)

    def _restart(self) -> None:
        if not self.complete:
            self.offset, self._uncertain = 0, False

    def _conflict(self) -> None:
        """Count a conflict: the registry has other bytes than were sent; raises UploadLost after too many."""
        self._conflicts += 1
        if self._conflicts > _MAX_CONFLICTS:
            host = self.image.registry
            raise UploadLost(f"{host} does not go on with {self._session.subject}", host=host, status=416)

    def _translated(self, error: RegistryError) -> RegistryError | DigestMismatch:
        """Return the error of a response as one about the upload."""
        lost = error.code in _LOST or (isinstance(error, NotFound) and bool(self._session.address))
        if not (lost or error.code == "DIGEST_INVALID" or isinstance(error, UploadLost)):
            return error
        if error.status in NOT_THERE:
            self._session.address = URL()
        if error.code == "DIGEST_INVALID":
            message = f"{error.host} got bytes of another digest: {error}"
            return DigestMismatch(message, digest=str(self.blob.digest), advice=CHANGED_ADVICE)
        return UploadLost(str(error), host=error.host, status=error.status, code=error.code)
