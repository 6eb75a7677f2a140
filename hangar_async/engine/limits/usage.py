"""The part of each image in the transfers of a run."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from hangar_async.disk import Disk
from hangar_async.effort import Meters
from hangar_async.engine.limits.queue import Rank
from hangar_async.engine.reports import Comparison, ImageOutcome, LoadOutcome, MirrorOutcome
from hangar_async.spooled import KEPT, Spooled

_T = TypeVar("_T")
_O = TypeVar("_O", ImageOutcome, LoadOutcome, MirrorOutcome, Comparison)


class Usage:
    """The bytes and the seconds of the requests of each image, by its place in the list.

    A request that serves several images counts for the one whose rank it has.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, meters: Meters | None = None) -> None:
        self._clock = clock
        #: The meters of all requests together.
        self.meters = meters or Meters(clock)
        self._bytes: Counter[int] = Counter()
        self._seconds: defaultdict[int, float] = defaultdict(float)
        #: The number of requests of an image that are under way, and the time since when there are some.
        self._requests: Counter[int] = Counter()
        self._since: dict[int, float] = {}

    def count(self, rank: Rank, size: int) -> None:
        """Count bytes that were fetched or sent."""
        self._bytes[rank[0]] += size

    async def during(self, rank: Rank, request: Callable[[], Awaitable[_T]]) -> _T:
        """Make a request, whose time counts, and return its result."""
        number = rank[0]
        if not self._requests[number]:
            self._since[number] = self._clock()
        self._requests[number] += 1
        try:
            return await request()
        finally:
            self._requests[number] -= 1
            if not self._requests[number]:
                self._seconds[number] += self._clock() - self._since.pop(number)

    def take(self) -> dict[int, tuple[float, int]]:
        """Return the seconds and the bytes of each image since the last call: another process has the sums."""
        numbers = {*self._seconds, *self._bytes}
        taken = {number: (self._seconds[number], self._bytes[number]) for number in numbers}
        self._seconds.clear()
        self._bytes.clear()
        return taken

    def add(self, taken: Mapping[int, tuple[float, int]]) -> None:
        """Add what another process has taken."""
        for number, (seconds, size) in taken.items():
            self._seconds[number] += seconds
            self._bytes[number] += size

    def measured(self, outcome: _O, number: int) -> _O:
        """Return the outcome of the image at this place with what it took."""
        return replace(outcome, seconds=self._seconds[number], transferred=self._bytes[number])

    def all_measured(self, outcomes: Iterable[_O]) -> tuple[_O, ...]:
        """Return the outcomes of all images, in the order of the list, with what each took."""
        return tuple(self.measured(outcome, number) for number, outcome in enumerate(outcomes))

    def forget(self, number: int) -> None:
        """Forget what the image at this place took."""
        self._bytes.pop(number, None)
        self._seconds.pop(number, None)
        if not self._requests[number]:
            del self._requests[number]


class Outcomes(Generic[_O]):
    """The outcomes of a run by the places of their images, each with what it took; most are in a file.

    Raises StorageError.
    """

    def __init__(self, usage: Usage, disk: Disk) -> None:
        self._usage = usage
        self._spooled: Spooled[_O] = Spooled(disk)
        #: The number of images that have failed.
        self.failed = 0

    def put(self, number: int, outcome: _O) -> None:
        """Put the outcome of an image at its place."""
        self.failed += not outcome.ok
        measured = self._usage.measured(outcome, number)
        if number == len(self._spooled):
            self._spooled.append(measured)
        else:
            self._spooled[number] = measured
        if number >= KEPT:
            self._usage.forget(number)

    def sequence(self) -> Sequence[_O]:
        """Return them all, each also with what came for other images after its end, where they are few."""
        outcomes = self._spooled.sequence()
        return self._usage.all_measured(outcomes) if isinstance(outcomes, tuple) else outcomes
