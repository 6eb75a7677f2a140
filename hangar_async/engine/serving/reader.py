"""Blobs of a layout for clients: read in threads, checked, and within bounds for any number of clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import aclosing
from typing import NoReturn
from weakref import WeakValueDictionary

from hangar_async.engine.serving.buffers import LARGE, SMALL, Buffer, Buffers, Readers, SlowClientWatch
from hangar_async.errors import ContentError
from hangar_async.layout.files import SeekableLayout, blob_name
from hangar_async.oci import Digest, Verifier
from hangar_async.threads import in_thread

#: Bytes that a client has to take at once before it gets large pieces again: more than the buffers of the kernel.
_FAST = 2 << 20
_ADVICE = "do not change it while it is served; verify names everything that is damaged"


class BlobReader:
    """A reader of the blobs of a layout, for any number of clients; the caller closes it when none reads any more.

    The first reading of a whole blob hashes it, one reading at a time, and sends its last piece only when the digest
    is right. After that, and for a part of a blob, it is enough that the file was not changed.
    """

    def __init__(self, layout: SeekableLayout) -> None:
        self.buffers = Buffers()
        self.readers = Readers(layout)
        self._sizes = layout.sizes()
        self._verified: dict[Digest, Hashable] = {}
        #: The blobs that are hashed while they are sent.
        self._hashing: set[Digest] = set()
        self._checks: WeakValueDictionary[Digest, asyncio.Lock] = WeakValueDictionary()

    async def read(
        self, digest: Digest, start: int, stop: int, *, checked: bool = False
    ) -> AsyncGenerator[memoryview, None]:
        """Read the bytes from `start` up to `stop`; a piece is valid until the next one is read.

        With `checked`, the whole blob is hashed, if it was not before, before the first piece. Pieces are large while
        the client takes each at once. Raises ContentError for a blob whose digest is another one, or that was changed,
        ArchiveError, StorageError.
        """
        whole = (start, stop) == (0, self._sizes[blob_name(digest)])
        if checked or start == stop:
            await self._check(digest)
        hashes = whole and not checked and digest not in self._hashing
        reading = _Reading(self.readers, self._verified, digest, start, stop, hashes=hashes)
        if hashes:
            self._hashing.add(digest)
        try:
            async with aclosing(self._pieces(reading)) as pieces:
                async for piece in pieces:
                    if (checked or (whole and not reading.remaining)) and not reading.is_verified:
                        # Another reading hashes it, and has not come to the end yet.
                        await self._check(digest)
                        reading.require_verified()
                    yield piece
        finally:
            if hashes:
                self._hashing.discard(digest)

    def close(self) -> None:
        """Close the readers that are open."""
        self.readers.close()

    async def _pieces(self, reading: _Reading) -> AsyncGenerator[memoryview, None]:
        small = memoryview(b"")
        at_once = _FAST
        while reading.remaining:
            large = await self.buffers.take() if at_once >= _FAST and reading.remaining > SMALL else None
            try:
                if large is None and not small:
                    small = memoryview(bytearray(min(SMALL, reading.remaining)))
                buffer = small if large is None else large.view
                count = await in_thread(reading.fill, buffer)
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
        """Hash a blob alone, if its file is not verified yet; callers at the same time wait for one."""
        async with self._checks.setdefault(digest, asyncio.Lock()):
            size = self._sizes[blob_name(digest)]
            reading = _Reading(self.readers, self._verified, digest, 0, size, hashes=True)
            buffer = memoryview(bytearray(min(LARGE, size)))
            if not size:
                reading.end()
            while reading.remaining and reading.hashes:
                await in_thread(reading.fill, buffer)


class _Reading:
    """One reading of a blob, from `start` to `stop`, in threads one after the other.

    A reading that `hashes` is of the whole blob; it stops hashing when `verified` has the identity of the file.
    """

    def __init__(
        self, readers: Readers, verified: dict[Digest, Hashable], digest: Digest, start: int, stop: int, *, hashes: bool
    ) -> None:
        self._readers = readers
        self._verified = verified
        self._digest = digest
        self._name = blob_name(digest)
        self._position = start
        self._stop = stop
        self._identity: Hashable = None
        self._verifier = Verifier(digest, None, advice=_ADVICE) if hashes else None

    @property
    def remaining(self) -> int:
        """The number of bytes that are not read yet."""
        return self._stop - self._position

    @property
    def hashes(self) -> bool:
        """True when the next bytes are hashed."""
        return self._verifier is not None

    @property
    def is_verified(self) -> bool:
        """True when the file that was read has the digest."""
        return self._identity is not None and self._verified.get(self._digest) == self._identity

    def require_verified(self) -> None:
        """Raise ContentError when the file is not verified."""
        if not self.is_verified:
            self._raise_changed()

    def fill(self, buffer: memoryview) -> int:
        """Read the next bytes into a buffer, and check them as far as is possible."""
        buffer = buffer[: self.remaining]
        reader = self._readers.take(self._name, self._position)
        try:
            self._compare(reader.identity)
            done = 0
            while done < len(buffer) and (count := reader.readinto(buffer[done:])):
                done += count
            reader.check()
            self._count(buffer[:done], len(buffer) - done)
        except BaseException:
            reader.close()
            raise
        if self.remaining:
            self._readers.give(self._name, self._position, reader)
        else:
            reader.close()
        return done

    def end(self) -> None:
        """Check the digest at the end of the blob."""
        if self._verifier is not None:
            self._verifier.finish()
            self._verified[self._digest] = self._identity

    def _compare(self, identity: Hashable) -> None:
        """Check that the file is the one that was read before; stop hashing a verified one."""
        if self._identity not in (None, identity):
            self._raise_changed()
        if self._identity is None and self._verified.get(self._digest) == identity:
            self._verifier = None
        self._identity = identity

    def _count(self, piece: memoryview, missing: int) -> None:
        if self._verifier is not None:
            self._verifier.update(piece)
        self._position += len(piece)
        if missing:
            raise ContentError(f"{self._digest} ends too early", digest=str(self._digest), advice=_ADVICE)
        if not self.remaining:
            self.end()

    def _raise_changed(self) -> NoReturn:
        text = f"{self._digest} was changed while it was read"
        raise ContentError(text, digest=str(self._digest), advice=_ADVICE)
