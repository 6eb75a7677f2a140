"""The part of each image in the transfers of a run."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from hangar_async.effort import Meters
from hangar_async.engine.limits.queue import Rank
from hangar_async.engine.reports import Comparison, ImageOutcome, LoadOutcome, MirrorOutcome

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

    def measured(self, outcome: _O, number: int) -> _O:
        """Return the outcome of the image at this place with what it took."""
        return replace(outcome, seconds=self._seconds[number], transferred=self._bytes[number])

    def all_measured(self, outcomes: Iterable[_O]) -> tuple[_O, ...]:
        """Return the outcomes of all images, in the order of the list, with what each took."""
        return tuple(self.measured(outcome, number) for number, outcome in enumerate(outcomes))
