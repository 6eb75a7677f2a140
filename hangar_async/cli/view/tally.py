"""The sums of the events of a run, which every view shows."""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hangar_async.engine import events
from hangar_async.engine.events import Event
from hangar_async.oci import Digest

#: Seconds over which a rate is measured.
_WINDOW = 10.0


@dataclass(slots=True)
class Flight:
    """A blob that is fetched: `done` of `size` bytes have arrived."""

    digest: Digest
    size: int
    image: str
    done: int


@dataclass(slots=True)
class Tally:
    """The sums so far. Bytes of a blob whose try failed do not count until the next try continues from them.

    `closed` has the time of the clock until which a host takes no requests; `quotas` its remaining requests and limit;
    `unreachable` are the hosts that give no answer.
    """

    clock: Callable[[], float] = time.monotonic
    images: int = 0
    jobs: int = 1
    done: int = 0
    failed: int = 0
    blobs: int = 0
    planned_bytes: int = 0
    here_bytes: int = 0
    fetched_bytes: int = 0
    reused_bytes: int = 0
    archive_bytes: int = 0
    part: int = 0
    committing: bool = False
    to_check: int = 0
    checked: int = 0
    flights: dict[Digest, Flight] = field(default_factory=dict)
    closed: dict[str, float] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)
    quotas: dict[str, tuple[int, int]] = field(default_factory=dict)
    _unplanned: int = 0
    _planned: Counter[str] = field(default_factory=Counter)

    def __call__(self, event: Event) -> None:
        """Add an event. Progress comes thousands of times a second, so it is looked at first."""
        match event:
            case events.BlobProgress(digest, gained, done):
                self.fetched_bytes += gained
                flight = self.flights.get(digest)
                if flight is None:
                    # A manifest: it arrives in one piece.
                    self.here_bytes += gained
                else:
                    flight.done = done
            case events.Checked(gained):
                self.checked += gained
            case events.ArchiveProgress(written, part):
                self.archive_bytes, self.part = written, part
            case events.BlobStarted(digest, size, image, start):
                self.flights[digest] = Flight(digest, size, image, start)
            case events.BlobEnded(digest, size, ok):
                self.flights.pop(digest, None)
                self.here_bytes += size if ok else 0
            case events.BlobReused(_, size):
                self.here_bytes += size
                self.reused_bytes += size
            case events.HostClosed(host, _, seconds):
                self.closed[host] = self.clock() + seconds
            case events.HostUnreachable(host):
                self.unreachable.add(host)
            case events.HostReached(host):
                self.unreachable.discard(host)
            case events.QuotaReported(host, remaining, limit, _):
                self.quotas[host] = (remaining, limit)
            case _:
                self._image(event)

    def _image(self, event: Event) -> None:
        match event:
            case events.RunStarted(images, jobs):
                self.images = self._unplanned = images
                self.jobs = jobs
            case events.ImagePlanned(name, _, blobs, size):
                self._planned[name] += 1
                self._unplanned -= 1
                self.blobs += blobs
                self.planned_bytes += size
            case events.ImageEnded(outcome):
                planned = self._planned.pop(outcome.name, 0)
                self._unplanned -= planned == 0
                if planned > 1:
                    self._planned[outcome.name] = planned - 1
                self.done += outcome.ok
                self.failed += not outcome.ok
            case events.Committing():
                self.committing = True
            case events.CheckStarted(size):
                self.to_check = size

    @property
    def all_planned(self) -> bool:
        """True when the number of bytes of the whole run is known."""
        return self._unplanned <= 0

    @property
    def expected_bytes(self) -> int:
        """The planned bytes, scaled to all images while only some of them are planned."""
        planned = self.images - self._unplanned
        return self.planned_bytes if self.all_planned else self.planned_bytes * self.images // max(planned, 1)

    @property
    def all_ended(self) -> bool:
        """True when all images have ended."""
        return self.done + self.failed >= self.images

    @property
    def arrived_bytes(self) -> int:
        """The number of planned bytes that have arrived from registries, or are in the cache."""
        arrived = self.here_bytes + sum(flight.done for flight in tuple(self.flights.values()))
        return min(arrived, self.planned_bytes)


class Rate:
    """The speed of a growing number over the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def per_second(self, now: float, amount: int) -> float:
        """Note the number at the time `now`, and return its growth a second."""
        self._samples.append((now, amount))
        while len(self._samples) > 2 and self._samples[1][0] <= now - _WINDOW:
            self._samples.popleft()
        begin, first = self._samples[0]
        return (amount - first) / (now - begin) if now > begin else 0.0
