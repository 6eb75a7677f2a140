"""What is bounded while many clients read: memory for pieces, and open files."""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable

from hangar_async.layout.files import LayoutReader, SeekableLayout

#: A piece for a client that takes what it gets, and one for a client that is slow, or one of many.
LARGE = 1 << 20
SMALL = 64 << 10
#: Large pieces on their way at once.
MOST_LARGE = 16
#: Readers that wait for their client, open; each of them may hold the state of a decoder.
MOST_IDLE = 24
#: Turns of the event loop that it takes to send what the kernel has room for.
_FEW = 6


class Buffer:
    """A buffer for a large piece, in the hands of one reading; `stuck` while it waits for its client."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(LARGE))
        self.stuck = False


class Buffers:
    """Large buffers, of which there are not more than `most`; for the event loop."""

    def __init__(self, most: int = MOST_LARGE) -> None:
        self._most = most
        self._free: list[Buffer] = []
        self._waiting: deque[asyncio.Future[Buffer | None]] = deque()
        self._stuck = 0
        #: Buffers that are in use, and the most that ever were.
        self.lent = self.peak = 0

    async def take(self) -> Buffer | None:
        """Return a buffer, as soon as there is one; None where each of them waits for its client."""
        if self._free or self.lent < self._most:
            self.lent += 1
            self.peak = max(self.peak, self.lent)
            return self._free.pop() if self._free else Buffer()
        if self._stuck == self.lent:
            return None
        future: asyncio.Future[Buffer | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and (buffer := future.result()) is not None:
                self.give(buffer)
            raise

    def wait_for_client(self, buffer: Buffer) -> None:
        """Note that a buffer will come back nobody knows when."""
        buffer.stuck = True
        self._stuck += 1
        if self._stuck == self.lent:
            while self._waiting:
                self._hand_on(None)

    def give(self, buffer: Buffer) -> None:
        """Take a buffer back."""
        self._stuck -= buffer.stuck
        buffer.stuck = False
        while self._waiting:
            if self._hand_on(buffer):
                return
        self.lent -= 1
        self._free.append(buffer)

    def _hand_on(self, buffer: Buffer | None) -> bool:
        future = self._waiting.popleft()
        if future.done():
            return False
        future.set_result(buffer)
        return True


class SlowClientWatch:
    """Calls `over` when a block is not left within a few turns of the event loop, however long these take.

    What is sent within it went to the kernel at once otherwise, and nobody waited for the client.
    """

    def __init__(self, over: Callable[[], None]) -> None:
        self._left = _FEW
        self._over = over
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
            self._over()


class Readers:
    """Readers of holdings, for threads: those that wait for their client stay open, but not more than `most`.

    One that was closed meanwhile is opened again where it stood: at once for what is stored as it is, after decoding
    what is before it for what is really compressed.
    """

    def __init__(self, layout: SeekableLayout, most: int = MOST_IDLE) -> None:
        self._layout = layout
        self._most = most
        self._idle: OrderedDict[tuple[str, int], LayoutReader] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def idle(self) -> int:
        """How many wait."""
        return len(self._idle)

    def take(self, name: str, place: int) -> LayoutReader:
        """Return a reader of a file that stands at a place; the caller gives it back, or closes it."""
        with self._lock:
            reader = self._idle.pop((name, place), None)
        return reader or self._layout.open(name, place)

    def give(self, name: str, place: int, reader: LayoutReader) -> None:
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
