"""The reasons of the length of a run: waits, requests, and the work of threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from types import TracebackType


@dataclass(frozen=True, slots=True)
class Effort:
    """The time that a run took, by its reasons, in seconds.

    `permits` is the time in which a request waited for others to end, `closed` that in which one waited for a host that
    takes none. `most` requests were under way at once, and `repeats` were made again after a break. `moved` has the
    bytes that were moved from or to each host, and in which time. The last three are sums of threads.
    """

    permits: float = 0.0
    closed: Mapping[str, float] = field(default_factory=dict)
    most: int = 0
    repeats: int = 0
    moved: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    disk: float = 0.0
    hashing: float = 0.0
    compressing: float = 0.0


@dataclass(slots=True)
class Span:
    """The time in which something goes on, also where several do at once."""

    seconds: float = 0.0
    _count: int = 0
    _since: float = 0.0

    def begin(self, now: float) -> None:
        """Note that one more begins."""
        if not self._count:
            self._since = now
        self._count += 1

    def end(self, now: float) -> None:
        """Note that one ends."""
        self._count -= 1
        if not self._count:
            self.seconds += now - self._since


class Stopwatch:
    """Adds the time of its blocks, which may be in several threads.

    The addition is not guarded: a lost one in thousands of pieces changes nothing that a person sees.
    """

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self) -> Timed:
        """Time a block."""
        return Timed(self)


class Timed:
    """One block of a stopwatch."""

    __slots__ = ("_began", "_watch")

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch

    def __enter__(self) -> None:
        """Begin the block."""
        self._began = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Add its time."""
        self._watch.seconds += time.monotonic() - self._began


class WorkTimes:
    """The stopwatches of a run: writing to the disk, hashing, and compressing."""

    def __init__(self) -> None:
        self.disk = Stopwatch()
        self.hashing = Stopwatch()
        self.compressing = Stopwatch()


class Meters:
    """The requests of a run, measured by a clock in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._permits = Span()
        self._closed: dict[str, Span] = {}
        self._under_way = self._most = 0
        #: Requests that were made again after a break.
        self.repeats = 0

    @contextmanager
    def waiting(self, host: str = "") -> Iterator[None]:
        """Measure a wait for a permit during the block, or for a host that takes no requests."""
        span = self._closed.setdefault(host, Span()) if host else self._permits
        span.begin(self._clock())
        try:
            yield
        finally:
            span.end(self._clock())

    def begin(self) -> None:
        """Note that a request begins."""
        self._under_way += 1
        self._most = max(self._most, self._under_way)

    def end(self) -> None:
        """Note that a request ends."""
        self._under_way -= 1

    def effort(self, times: WorkTimes, *moved: Mapping[str, tuple[int, float]]) -> Effort:
        """Return what was measured, with the times of threads, and the bytes of each host of one client or several."""
        sums: dict[str, tuple[int, float]] = {}
        for host, (count, seconds) in chain.from_iterable(hosts.items() for hosts in moved):
            before = sums.get(host, (0, 0.0))
            sums[host] = before[0] + count, before[1] + seconds
        return Effort(
            permits=self._permits.seconds,
            closed={host: span.seconds for host, span in self._closed.items()},
            most=self._most,
            repeats=self.repeats,
            moved=sums,
            disk=times.disk.seconds,
            hashing=times.hashing.seconds,
            compressing=times.compressing.seconds,
        )
