"""The bounds while many clients read: memory for pieces, and open files."""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable

from hangar_async.layout.files import LayoutReader, SeekableLayout

#: Bytes of a piece for a client that takes each at once, and for one that is slow, or one of many.
LARGE = 1 << 20
SMALL = 64 << 10
#: Large pieces at the same time.
MOST_LARGE = 16
#: Open readers that wait for their client; each of them may hold the state of a decoder.
MOST_IDLE = 24
#: Turns of the event loop in which the kernel takes a piece that it has space for.
_MAX_TURNS = 6


class Buffer:
    """A buffer for a large piece, used by one reading; `waiting` while it waits for its client."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(LARGE))
        self.waiting = False


class Buffers:
    """A pool of at most `most` large buffers; for the event loop."""

    def __init__(self, most: int = MOST_LARGE) -> None:
        self._most = most
        self._free: list[Buffer] = []
        self._requests: deque[asyncio.Future[Buffer | None]] = deque()
        self._waiting = 0
        #: Buffers that are in use, and the most that ever were.
        self.lent = self.peak = 0

    async def take(self) -> Buffer | None:
        """Return a buffer, as soon as one is free; None when all of them wait for clients."""
        if self._free or self.lent < self._most:
            self.lent += 1
            self.peak = max(self.peak, self.lent)
            return self._free.pop() if self._free else Buffer()
        if self._waiting == self.lent:
            return None
        future: asyncio.Future[Buffer | None] = asyncio.get_running_loop().create_future()
        self._requests.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and (buffer := future.result()) is not None:
                self.give(buffer)
            raise

    def wait_for_client(self, buffer: Buffer) -> None:
        """Mark the buffer as waiting for a slow client."""
        buffer.waiting = True
        self._waiting += 1
        if self._waiting == self.lent:
            while self._requests:
                self._hand_on(None)

    def give(self, buffer: Buffer) -> None:
        """Take a buffer back."""
        self._waiting -= buffer.waiting
        buffer.waiting = False
        while self._requests:
            if self._hand_on(buffer):
                return
        self.lent -= 1
        self._free.append(buffer)

    def _hand_on(self, buffer: Buffer | None) -> bool:
        future = self._requests.popleft()
        if future.done():
            return False
        future.set_result(buffer)
        return True


class SlowClientWatch:
    """A watch that calls `on_slow` when its block takes more than a few turns of the event loop.

    Within these turns the kernel takes the piece that is sent, and no time is spent on waiting for the client.
    """

    def __init__(self, on_slow: Callable[[], None]) -> None:
        self._left = _MAX_TURNS
        self._on_slow = on_slow
        self._handle: asyncio.Handle | None = None

    def __enter__(self) -> None:
        self._turn()

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _turn(self) -> None:
        self._left -= 1
        if self._left:
            self._handle = asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._on_slow()


class Readers:
    """The open readers of a layout, for threads; at most `most` stay open while they wait for clients.

    A reader that was closed is opened again at its position: at once where the data is stored without compression,
    else after decoding what is before it in its piece, or in the file where the index of the archive has no pieces.
    """

    def __init__(self, layout: SeekableLayout, most: int = MOST_IDLE) -> None:
        self._layout = layout
        self._most = most
        self._idle: OrderedDict[tuple[str, int], LayoutReader] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def idle(self) -> int:
        """The number of readers that wait."""
        return len(self._idle)

    def take(self, name: str, position: int) -> LayoutReader:
        """Return a reader of a file at a position; the caller gives it back, or closes it."""
        with self._lock:
            reader = self._idle.pop((name, position), None)
        return reader or self._layout.open(name, position)

    def give(self, name: str, position: int, reader: LayoutReader) -> None:
        """Keep a reader that waits at its position."""
        with self._lock:
            surplus = [self._idle.pop((name, position), None)]
            self._idle[name, position] = reader
            if len(self._idle) > self._most:
                surplus.append(self._idle.popitem(last=False)[1])
        for old in surplus:
            if old is not None:
                old.close()

    def close(self) -> None:
        """Close the readers that wait."""
        with self._lock:
            readers = list(self._idle.values())
            self._idle.clear()
        for reader in readers:
            reader.close()
