"""The queue for requests: how many are made at once, in all and at each host, and which is next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Container, Iterable
from typing import TypeAlias

from hangar_async.config.jobs import JobLimits

#: Compared as a tuple: the place of the image in the list, then the order within the image. The lowest goes first.
Rank: TypeAlias = tuple[int, ...]


def planning_rank(number: int) -> Rank:
    """Return the rank of documents of the image at this place in the list: before its blobs."""
    return (number, 0)


def is_planning(rank: Rank) -> bool:
    """Tell whether a rank is one of planning."""
    return rank[1:2] == (0,)


def blob_rank(number: int, size: int) -> Rank:
    """Return the rank of a blob of the image at this place in the list: the largest goes first."""
    return (number, 1, -size)


def _size_of(rank: Rank) -> int:
    """Return the size of the blob that a rank is of, 0 for other ranks."""
    return -sum(rank[2:3]) if rank[1:2] == (1,) else 0


class Ticket:
    """A place in the queue; its rank may be raised while it waits. `ahead` marks requests that only plan.

    It may be used again when its request has ended, at another host too.
    """

    def __init__(self, rank: Rank, *, ahead: bool = False) -> None:
        self.rank = rank
        self.ahead = ahead
        self._wait: _Wait | None = None


#: Waits for blobs that are noted by size before those that are over are looked for.
_LEAST_NOTED = 1_000
#: A wait in a heap: its rank there, its number, and the wait.
_Entry: TypeAlias = tuple[Rank, int, "_Wait"]


class _Wait:
    """One wait of a ticket in the queue of a host; it is over when the permit is granted or the wait is cancelled."""

    def __init__(self, ticket: Ticket, host_queue: HostQueue) -> None:
        self.ticket = ticket
        self.host_queue = host_queue
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: The image that the permit is of; None for a request that plans ahead.
        self.image: int | None = None
        #: The bytes of its blob while it waits, 0 for none.
        self.size = 0


class HostQueue:
    """The part of the queue for one host: at most `limit` of the permits are given to it at once.

    With `parts` it is for requests that need all of these hosts: each permit is one of every part too.
    """

    def __init__(self, limit: float, parts: tuple[HostQueue, ...] = ()) -> None:
        self.limit = limit
        self.active = 0
        self._parts = parts
        self._planning: list[_Entry] = []
        #: The waits of each image, and the images without a permit that have some, the first one first.
        self._images: dict[int, list[_Entry]] = {}
        self._idle: list[int] = []

    @property
    def has_space(self) -> bool:
        """True when it may have one more permit."""
        return self.active < max(1, int(self.limit)) and all(part.has_space for part in self._parts)

    def add(self, count: int) -> None:
        """Note that it has `count` more permits."""
        for queue in (self, *self._parts):
            queue.active += count

    def push(self, wait: _Wait, number: int) -> None:
        """Add a wait under the present rank of its ticket; it is in a heap once for each rank that it had."""
        rank = wait.ticket.rank
        if wait.ticket.ahead:
            heapq.heappush(self._planning, (rank, number, wait))
            return
        if rank[0] not in self._images:
            self._images[rank[0]] = []
            heapq.heappush(self._idle, rank[0])
        heapq.heappush(self._images[rank[0]], (rank, number, wait))

    def idle(self, image: int) -> None:
        """Note that an image has no permit any more."""
        if image in self._images:
            heapq.heappush(self._idle, image)

    def waiting(self, images: Iterable[int]) -> list[int]:
        """Return those of the images that have waits, or had some until now."""
        return [image for image in images if image in self._images]

    def first_of(self, image: int) -> _Entry | None:
        """Return the first wait of an image."""
        heap = self._images.get(image)
        if heap is None:
            return None
        if (entry := _first(heap)) is None:
            del self._images[image]
        return entry

    def first_idle(self, busy: Container[int]) -> _Entry | None:
        """Return the first wait of the first image that is not `busy`, which is to say has no permit."""
        while self._idle:
            image = self._idle[0]
            if image not in busy and (entry := self.first_of(image)) is not None:
                return entry
            heapq.heappop(self._idle)
        return None

    def first_planning(self) -> _Entry | None:
        """Return the first wait of a request that only plans."""
        return _first(self._planning)

    def __len__(self) -> int:
        return len(self._planning) + sum(map(len, self._images.values()))


def _first(heap: list[_Entry]) -> _Entry | None:
    """Return the first entry whose wait is not over, and whose rank is the present one."""
    while heap and (heap[0][2].granted.done() or heap[0][0] != heap[0][2].ticket.rank):
        heapq.heappop(heap)
    return heap[0] if heap else None


class Permit:
    """A permit of a queue, held for a block."""

    def __init__(self, queue: RequestQueue, ticket: Ticket, host_queue: HostQueue) -> None:
        self._queue = queue
        self._ticket = ticket
        self._host_queue = host_queue

    async def __aenter__(self) -> None:
        """Wait for it."""
        self._wait = await self._queue._acquire(self._ticket, self._host_queue)

    async def __aexit__(self, *error: object) -> None:
        """Give it back."""
        self._queue._release(self._wait)


class RequestQueue:
    """A semaphore whose permits go to the lowest rank among the hosts and images that have space.

    An image has at most `limits.blobs` of them, and an equal share of all when fewer images are left than jobs.
    Requests that plan ahead get one of several, and those that nothing else waits for. A blob that would take longer
    than all others that wait, on all permits, goes before these: the end would wait for it. Belongs to one event loop.
    `repr()` is a line of its state.
    """

    def __init__(self, limits: JobLimits) -> None:
        self.count = limits.requests
        #: The number of requests that have begun.
        self.begun = 0
        #: The number of images that are not done; to be kept by the run.
        self.images_left = limits.jobs
        self._limits = limits
        self._free = self.count
        #: The number of permits of each image that has some.
        self._busy: dict[int, int] = {}
        self._numbers = itertools.count()
        #: The number of permits of requests that plan ahead.
        self._ahead = 0
        #: The waits for blobs, the largest first, and the sum of their bytes.
        self._largest: list[tuple[int, int, _Wait]] = []
        self._most_noted = _LEAST_NOTED
        self._waiting_bytes = 0
        self._host_queues: list[HostQueue] = []

    def host_queue(self, *parts: HostQueue) -> HostQueue:
        """Make the queue of a host, or of requests that need all of some hosts, with a place for each permit."""
        host_queue = HostQueue(self.count, parts)
        self._host_queues.append(host_queue)
        return host_queue

    def hold(self, ticket: Ticket, host_queue: HostQueue) -> Permit:
        """Wait for a permit, and hold it for the block."""
        return Permit(self, ticket, host_queue)

    def begin(self) -> int:
        """Note that a request begins, and return its number."""
        self.begun += 1
        return self.begun

    def image_ended(self) -> None:
        """Note that an image is done, so that fewer are left."""
        self.images_left -= 1
        self.grant()

    def raise_rank(self, ticket: Ticket, rank: Rank) -> None:
        """Let a ticket go earlier, also while it waits; a later rank changes nothing."""
        if rank < ticket.rank:
            ticket.rank = rank
            ticket.ahead = ticket.ahead and is_planning(rank)
            if ticket._wait is not None:
                ticket._wait.host_queue.push(ticket._wait, next(self._numbers))
                self.grant()

    def grant(self) -> None:
        """Give the free permits to those that wait; to be called when the limit of a host was raised."""
        while self._free > 0 and (wait := self._next()) is not None:
            wait.granted.set_result(None)
            self._take(wait)

    def _next(self) -> _Wait | None:
        """Choose the next wait."""
        queues = [queue for queue in self._host_queues if queue.has_space]
        if self.count > 1 and not self._ahead and (plans := self._first_plans(queues)):
            return min(plans, key=lambda entry: entry[:2])[2]
        if (longest := self._longest()) is not None:
            return longest
        entries = [
            entry
            for queue in queues
            for image in queue.waiting(self._busy)
            if self._has_space(image) and (entry := queue.first_of(image)) is not None
        ]
        entries += [entry for queue in queues if (entry := queue.first_idle(self._busy)) is not None]
        entries = entries or self._first_plans(queues)
        return min(entries, key=lambda entry: entry[:2])[2] if entries else None

    @staticmethod
    def _first_plans(queues: Iterable[HostQueue]) -> list[_Entry]:
        return [entry for queue in queues if (entry := queue.first_planning()) is not None]

    def _longest(self) -> _Wait | None:
        """Return the wait for the largest blob, where all others take less time on all permits."""
        # A cancelled one is over before its task has noted that.
        while self._largest and (self._largest[0][2].granted.done() or not self._largest[0][2].size):
            heapq.heappop(self._largest)
        if not self._largest:
            return None
        wait = self._largest[0][2]
        has_space = wait.host_queue.has_space and self._has_space(wait.ticket.rank[0])
        return wait if has_space and wait.size * self.count >= self._waiting_bytes else None

    def _note_size(self, wait: _Wait) -> None:
        """Note that a blob waits."""
        wait.size = _size_of(wait.ticket.rank)
        self._waiting_bytes += wait.size
        if len(self._largest) >= self._most_noted:
            # Most of them may be over, below a larger one that still waits.
            self._largest = [entry for entry in self._largest if entry[2].size]
            heapq.heapify(self._largest)
            self._most_noted = max(_LEAST_NOTED, 2 * len(self._largest))
        heapq.heappush(self._largest, (-wait.size, next(self._numbers), wait))

    def _forget_size(self, wait: _Wait) -> None:
        """Note that a blob waits no more."""
        self._waiting_bytes -= wait.size
        wait.size = 0

    def _has_space(self, image: int) -> bool:
        """Tell whether an image may have one more permit."""
        most = self._limits.blobs
        if self.images_left < self._limits.jobs:
            most = max(most, -(-self.count // max(self.images_left, 1)))
        return self._busy.get(image, 0) < most

    def _take(self, wait: _Wait) -> None:
        """Take a permit for a wait, and note the image that it is of."""
        self._free -= 1
        self._forget_size(wait)
        wait.host_queue.add(1)
        if wait.ticket.ahead:
            self._ahead += 1
        else:
            wait.image = wait.ticket.rank[0]
            self._busy[wait.image] = self._busy.get(wait.image, 0) + 1

    async def _acquire(self, ticket: Ticket, host_queue: HostQueue) -> _Wait:
        wait = _Wait(ticket, host_queue)
        # Nothing waits for a permit that it could get.
        if self._free > 0 and host_queue.has_space and (ticket.ahead or self._has_space(ticket.rank[0])):
            self._take(wait)
            return wait
        ticket._wait = wait
        host_queue.push(wait, next(self._numbers))
        if not ticket.ahead:
            self._note_size(wait)
        try:
            await wait.granted
        except asyncio.CancelledError:
            self._forget_size(wait)
            # Either nothing was granted, and the entry in the heap is over; or a permit must be given back.
            if wait.granted.done() and not wait.granted.cancelled():
                self._release(wait)
            raise
        finally:
            ticket._wait = None
        return wait

    def _release(self, wait: _Wait) -> None:
        self._free += 1
        wait.host_queue.add(-1)
        if (image := wait.image) is None:
            self._ahead -= 1
        else:
            self._busy[image] -= 1
            if not self._busy[image]:
                del self._busy[image]
                for queue in self._host_queues:
                    queue.idle(image)
        self.grant()

    def __repr__(self) -> str:
        queued = sum(map(len, self._host_queues))
        return f"<RequestQueue {self.count - self._free} of {self.count} held, {queued} queued>"
