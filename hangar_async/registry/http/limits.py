"""Limits of time: a peer that gives or takes a byte now and then does not hold up a request for ever."""

import asyncio
import time
from collections import Counter, defaultdict
from types import TracebackType

from hangar_async.errors import NetworkError


class Deadline:
    """Raises NetworkError where its block takes more than `seconds` since `began`.

    Without `began`, for the head of an answer, the limit is set by the block.
    """

    __slots__ = ("_answer", "_began", "_host", "_limit", "_seconds")

    def __init__(self, seconds: float, answer: str, host: str, began: float | None = None) -> None:
        self._seconds = seconds
        self._answer = answer
        self._host = host
        self._began = began
        self._limit = asyncio.timeout_at(None if began is None else began + seconds)

    async def __aenter__(self) -> asyncio.Timeout:
        """Begin the block, and return its limit."""
        return await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raise NetworkError where the limit has ended the block."""
        try:
            await self._limit.__aexit__(kind, error, traceback)
        except TimeoutError:
            pass
        else:
            if not (isinstance(error, TimeoutError) and self._limit.expired()):
                return
        message = f"{self._answer} began, and was not complete after {self._seconds:.0f} s"
        raise NetworkError(message, host=self._host, missing="answer" if self._began is None else "") from None


class Speeds:
    """The least speed at each host: `rate` bytes a second in `span` seconds of waiting, shared by its transfers."""

    def __init__(self, rate: float, span: float) -> None:
        self.rate = rate
        self.span = span
        #: The transfers that are under way, by host.
        self.transfers: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._since: dict[str, float] = {}

    @property
    def moved(self) -> dict[str, tuple[int, float]]:
        """The bytes that were moved from or to each host, and the seconds in which a transfer was under way."""
        return {host: (count, self._seconds[host]) for host, count in self._bytes.items()}

    def begin(self, host: str) -> "Transfer":
        """Begin a transfer, which the caller ends."""
        if not self.transfers[host]:
            self._since[host] = time.monotonic()
        self.transfers[host] += 1
        return Transfer(self, host)

    def note(self, host: str, count: int) -> None:
        """Note bytes of a transfer."""
        self._bytes[host] += count

    def end(self, host: str) -> None:
        """Note the end of a transfer."""
        self.transfers[host] -= 1
        if not self.transfers[host]:
            del self.transfers[host]
            self._seconds[host] += time.monotonic() - self._since[host]


class Transfer:
    """The body of one request or response; only the time in which the peer is waited for counts.

    `failure` is the reason once it was too slow.
    """

    def __init__(self, speeds: Speeds, host: str) -> None:
        self.failure: NetworkError | None = None
        self._speeds = speeds
        self._host = host
        self._waited = 0.0
        self._count = 0
        self._ended = False

    @property
    def left(self) -> float:
        """Seconds of waiting until the speed is judged."""
        return max(0.0, self._speeds.span - self._waited)

    def note(self, seconds: float, count: int) -> None:
        """Note a wait, and the bytes since the last one; after a whole span the speed is judged."""
        self._speeds.note(self._host, count)
        self._waited += seconds
        self._count += count
        if self._waited < self._speeds.span:
            return
        if self._count < self._speeds.rate * self._waited / self._speeds.transfers[self._host]:
            speed, minutes = self._count / self._waited, self._speeds.span / 60
            message = f"{self._host}: too slow, {speed:.0f} bytes a second in {minutes:.0f} minutes"
            self.failure = NetworkError(message, host=self._host, too_slow=True)
        self._waited, self._count = 0.0, 0

    def end(self) -> None:
        """End the transfer; again it does nothing."""
        if not self._ended:
            self._ended = True
            self._speeds.end(self._host)
