"""Blobs of holdings on their way to clients: read in threads, checked, and bounded however many ask for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import aclosing
from typing import NoReturn
from weakref import WeakValueDictionary

from hangar_async.engine.serving.buffers import LARGE, SMALL, Buffer, Buffers, Readers, SlowClientWatch
from hangar_async.errors import ContentError, DigestMismatch
from hangar_async.layout.files import SeekableLayout, blob_name
from hangar_async.oci.digest import Digest
from hangar_async.threads import in_thread

#: Bytes that a client has to take at once before it gets large pieces again: more than the kernel keeps for a slow one.
_TRUSTED = 2 << 20
_ADVICE = "leave it alone while it is served; verify says what is damaged"


class BlobReader:
    """The blobs of holdings, to be read by any number of clients; `close` when none does any more.

    A whole blob is hashed the first time it is read, once however many read it, and its last piece is sent only when
    it is right. After that, and for a part of one, it is enough that the file has not been changed.
    """

    def __init__(self, layout: SeekableLayout) -> None:
        self.buffers = Buffers()
        self.readers = Readers(layout)
        self._sizes = layout.sizes()
        self._right: dict[Digest, Hashable] = {}
        #: What is hashed while it is sent to somebody.
        self._hashing: set[Digest] = set()
        self._checks: WeakValueDictionary[Digest, asyncio.Lock] = WeakValueDictionary()

    async def read(
        self, digest: Digest, start: int, stop: int, *, checked: bool = False
    ) -> AsyncGenerator[memoryview, None]:
        """Read the bytes from `start` up to `stop`; a piece is good until the next one is asked for.

        With `checked` all of the blob is hashed, if it was not, before the first piece. As long as the client takes
        each piece at once, it is the reading that it waits for: then pieces are large. Raises ContentError for a blob
        that is not what its digest says, or was changed, ArchiveError, StorageError.
        """
        whole = (start, stop) == (0, self._sizes[blob_name(digest)])
        if checked or start == stop:
            await self._check(digest)
        hashes = whole and not checked and digest not in self._hashing
        passage = _Passage(self.readers, self._right, digest, start, stop, hashes=hashes)
        if hashes:
            self._hashing.add(digest)
        try:
            async with aclosing(self._pieces(passage)) as pieces:
                async for piece in pieces:
                    if (checked or (whole and not passage.left)) and not passage.right:
                        # Whoever hashes it is not through yet.
                        await self._check(digest)
                        passage.insist()
                    yield piece
        finally:
            if hashes:
                self._hashing.discard(digest)

    def close(self) -> None:
        """Close what is open."""
        self.readers.close()

    async def _pieces(self, passage: _Passage) -> AsyncGenerator[memoryview, None]:
        small = memoryview(b"")
        at_once = _TRUSTED
        while passage.left:
            large = await self.buffers.take() if at_once >= _TRUSTED and passage.left > SMALL else None
            try:
                if large is None and not small:
                    small = memoryview(bytearray(min(SMALL, passage.left)))
                buffer = small if large is None else large.view
                count = await in_thread(passage.fill, buffer)
                at_once += count

                def wait(large: Buffer | None = large) -> None:
                    nonlocal at_once
                    at_once = 0
                    if large is not None:
                        self.buffers.wait_for_client(large)

                with SlowClientWatch(wait):
                    yield buffer[:count]
            finally:
                if large is not None:
                    self.buffers.give(large)

    async def _check(self, digest: Digest) -> None:
        """Hash a blob for itself, if its file is not known to be right; several who ask wait for one."""
        async with self._checks.setdefault(digest, asyncio.Lock()):
            size = self._sizes[blob_name(digest)]
            passage = _Passage(self.readers, self._right, digest, 0, size, hashes=True)
            buffer = memoryview(bytearray(min(LARGE, size)))
            if not size:
                passage.end()
            while passage.left and passage.hashes:
                await in_thread(passage.fill, buffer)


class _Passage:
    """One reading of a blob, from `start` to `stop`, in threads one after the other.

    One that `hashes` is of all of it; it leaves that when `right` knows the file already.
    """

    def __init__(
        self, readers: Readers, right: dict[Digest, Hashable], digest: Digest, start: int, stop: int, *, hashes: bool
    ) -> None:
        self._readers = readers
        self._right = right
        self._digest = digest
        self._name = blob_name(digest)
        self._place = start
        self._stop = stop
        self._identity: Hashable = None
        self._hasher = digest.hasher() if hashes else None

    @property
    def left(self) -> int:
        """How many bytes are still to be read."""
        return self._stop - self._place

    @property
    def hashes(self) -> bool:
        """Whether what comes is still hashed."""
        return self._hasher is not None

    @property
    def right(self) -> bool:
        """Whether what was read is of a file that has the digest."""
        return self._identity is not None and self._right.get(self._digest) == self._identity

    def insist(self) -> None:
        """Raise ContentError where it is not."""
        if not self.right:
            self._changed()

    def fill(self, buffer: memoryview) -> int:
        """Read what comes next into a buffer, and see that it is right as far as that can be seen."""
        buffer = buffer[: self.left]
        reader = self._readers.take(self._name, self._place)
        try:
            self._compare(reader.identity)
            done = 0
            while done < len(buffer) and (count := reader.readinto(buffer[done:])):
                done += count
            reader.check()
            self._take_in(buffer[:done], len(buffer) - done)
        except BaseException:
            reader.close()
            raise
        if self.left:
            self._readers.give(self._name, self._place, reader)
        else:
            reader.close()
        return done

    def end(self) -> None:
        """See that the digest is right, now that all is read."""
        if self._hasher is not None:
            if self._hasher.hexdigest() != self._digest.hex:
                raise DigestMismatch(f"{self._digest} is damaged", digest=str(self._digest), advice=_ADVICE)
            self._right[self._digest] = self._identity

    def _compare(self, identity: Hashable) -> None:
        """See whether it is the file that was read before, and whether that was right."""
        if self._identity not in (None, identity):
            self._changed()
        if self._identity is None and self._right.get(self._digest) == identity:
            self._hasher = None
        self._identity = identity

    def _take_in(self, piece: memoryview, missing: int) -> None:
        if self._hasher is not None:
            self._hasher.update(piece)
        self._place += len(piece)
        if missing:
            raise ContentError(f"{self._digest} ends too early", digest=str(self._digest), advice=_ADVICE)
        if not self.left:
            self.end()

    def _changed(self) -> NoReturn:
        text = f"{self._digest} was changed while it was read"
        raise ContentError(text, digest=str(self._digest), advice=_ADVICE)
