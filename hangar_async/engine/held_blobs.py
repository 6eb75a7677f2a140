"""Blobs of holdings on their way to clients: read in threads, checked, and bounded however many ask for them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Hashable

from hangar_async.blocking import in_thread
from hangar_async.errors import ContentError, DigestMismatch
from hangar_async.oci.digest import Digest
from hangar_async.oci.holdings import Reader, SeekableHoldings
from hangar_async.oci.layout import blob_name

#: A piece for a client that takes what it gets, and one for a client that is slow, or one of many.
LARGE = 512 << 10
SMALL = 64 << 10
#: Large pieces on their way at once.
MOST_LARGE = 24
#: Readers that wait for their client, open; each of them may hold the state of a decoder.
MOST_IDLE = 24
#: Seconds in which a client takes a piece, if it is not slow.
_QUICK = 1.0
_ADVICE = "leave it alone while it is served; verify says what is damaged"


class HeldBlobs:
    """The blobs of holdings, to be read by any number of clients; `close` when none does any more.

    A whole blob is hashed the first time it is read, and its last piece is sent only when it is right. After that,
    and for a part of one, it is enough that the file has not been changed. `clock` tells seconds.
    """

    def __init__(self, holdings: SeekableHoldings, clock: Callable[[], float] = time.monotonic) -> None:
        self.buffers = Buffers()
        self.readers = Readers(holdings)
        self._sizes = holdings.sizes()
        self._right: dict[Digest, Hashable] = {}
        self._clock = clock

    async def read(
        self, digest: Digest, start: int, stop: int, *, checked: bool = False
    ) -> AsyncGenerator[memoryview, None]:
        """Read the bytes from `start` up to `stop`; a piece is good until the next one is asked for.

        With `checked` a blob that was not hashed yet is, before the first piece. A client that takes long for a piece
        gets small ones, and does not hold up the large ones. Raises ContentError for a blob that is not what its
        digest says, or was changed, ArchiveError, StorageError.
        """
        if checked:
            await in_thread(self._passage(digest, 0, self._sizes[blob_name(digest)]).pass_over)
        passage = self._passage(digest, start, stop, known=checked)
        if not passage.left:
            passage.fill_nothing()
        small = memoryview(b"")
        quick = True
        while passage.left:
            large = self.buffers.take() if quick and passage.left > SMALL else None
            try:
                if large is None and not small:
                    small = memoryview(bytearray(min(SMALL, passage.left)))
                buffer = small if large is None else large
                count = await in_thread(passage.fill, buffer)
                began = self._clock()
                yield buffer[:count]
                quick = self._clock() - began < _QUICK
            finally:
                if large is not None:
                    self.buffers.give(large)

    def close(self) -> None:
        """Close what is open."""
        self.readers.close()

    def _passage(self, digest: Digest, start: int, stop: int, *, known: bool = False) -> _Passage:
        whole = (start, stop) == (0, self._sizes[blob_name(digest)])
        return _Passage(self.readers, self._right, digest, start, stop, whole=whole and not known, known=known)


class _Passage:
    """One reading of a blob, from `start` to `stop`, in threads one after the other.

    All of it, `whole`, is hashed where `right` does not know it; one that has to be `known` is refused then.
    """

    def __init__(
        self,
        readers: Readers,
        right: dict[Digest, Hashable],
        digest: Digest,
        start: int,
        stop: int,
        *,
        whole: bool,
        known: bool,
    ) -> None:
        self._readers = readers
        self._right = right
        self._digest = digest
        self._name = blob_name(digest)
        self._place = start
        self._stop = stop
        self._known = known
        self._identity: Hashable = None
        self._hasher = digest.hasher() if whole else None

    @property
    def left(self) -> int:
        """How many bytes are still to be read."""
        return self._stop - self._place

    def pass_over(self) -> None:
        """Read it for its digest alone, as far as that is necessary."""
        buffer = memoryview(bytearray(min(SMALL, self.left)))
        while self.left and self._hasher is not None:
            self.fill(buffer)

    def fill_nothing(self) -> None:
        """See that a blob without content is right."""
        self._take_in(memoryview(b""), 0)

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

    def _compare(self, identity: Hashable) -> None:
        """See whether it is the file that was read before, and whether that was right."""
        right = self._right.get(self._digest) == identity
        if self._identity not in (None, identity) or (self._known and not right):
            text = f"{self._digest} was changed while it was read"
            raise ContentError(text, digest=str(self._digest), advice=_ADVICE)
        if self._identity is None and right:
            self._hasher = None
        self._identity = identity

    def _take_in(self, piece: memoryview, missing: int) -> None:
        if self._hasher is not None:
            self._hasher.update(piece)
        self._place += len(piece)
        if missing:
            raise ContentError(f"{self._digest} ends too early", digest=str(self._digest), advice=_ADVICE)
        if not self.left and self._hasher is not None:
            if self._hasher.hexdigest() != self._digest.hex:
                raise DigestMismatch(f"{self._digest} is damaged", digest=str(self._digest), advice=_ADVICE)
            self._right[self._digest] = self._identity


class Buffers:
    """Memory for large pieces, of which there are not more than `most`."""

    def __init__(self, most: int = MOST_LARGE) -> None:
        self._free: list[memoryview] = []
        self._left = most
        #: Buffers that are in use, and the most that ever were.
        self.lent = self.peak = 0

    def take(self) -> memoryview | None:
        """Return a buffer, or None where all are in use."""
        if not self._free:
            if not self._left:
                return None
            self._left -= 1
            self._free.append(memoryview(bytearray(LARGE)))
        self.lent += 1
        self.peak = max(self.peak, self.lent)
        return self._free.pop()

    def give(self, buffer: memoryview) -> None:
        """Take a buffer back."""
        self.lent -= 1
        self._free.append(buffer)


class Readers:
    """Readers of holdings, for threads: those that wait for their client stay open, but not more than `most`.

    One that was closed meanwhile is opened again where it stood: at once for what is stored as it is, after decoding
    what is before it for what is really compressed.
    """

    def __init__(self, holdings: SeekableHoldings, most: int = MOST_IDLE) -> None:
        self._holdings = holdings
        self._most = most
        self._idle: OrderedDict[tuple[str, int], Reader] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def idle(self) -> int:
        """How many wait."""
        return len(self._idle)

    def take(self, name: str, place: int) -> Reader:
        """Return a reader of a file that stands at a place; the caller gives it back, or closes it."""
        with self._lock:
            reader = self._idle.pop((name, place), None)
        return reader or self._holdings.open(name, place)

    def give(self, name: str, place: int, reader: Reader) -> None:
        """Let a reader wait at its place."""
        with self._lock:
            others = [self._idle.pop((name, place), None)]
            self._idle[name, place] = reader
            if len(self._idle) > self._most:
                others.append(self._idle.popitem(last=False)[1])
        for other in others:
            if other is not None:
                other.close()

    def close(self) -> None:
        """Close those that wait."""
        with self._lock:
            readers = list(self._idle.values())
            self._idle.clear()
        for reader in readers:
            reader.close()
