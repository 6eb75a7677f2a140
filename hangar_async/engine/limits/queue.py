"""The queue for requests: how many are made at once, in all and at each host, and which is next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

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


class Ticket:
    """A place in the queue; its rank may be raised while it waits. `ahead` marks requests that only plan.

    It may be used again when its request has ended, at another host too.
    """

    def __init__(self, rank: Rank, *, ahead: bool = False) -> None:
        self.rank = rank
        self.ahead = ahead
        self._wait: _Wait | None = None


class _Wait:
    """One wait of a ticket in the queue of a host; it is over when the permit is granted or the wait is cancelled."""

    def __init__(self, ticket: Ticket, host_queue: HostQueue) -> None:
        self.ticket = ticket
        self.host_queue = host_queue
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class HostQueue:
    """The part of the queue for one host: at most `limit` of the permits are given to it at once.

    With `parts` it is for requests that need all of these hosts: each permit is one of every part too.
    """

    def __init__(self, limit: float, parts: tuple[HostQueue, ...] = ()) -> None:
        self.limit = limit
        self.active = 0
        self._parts = parts
        self._heaps: dict[bool, list[tuple[Rank, int, _Wait]]] = {False: [], True: []}

    @property
    def has_space(self) -> bool:
        """True when it may have one more permit."""
        return self.active < max(1, int(self.limit)) and all(part.has_space for part in self._parts)

    def add(self, count: int) -> None:
        """Note that it has `count` more permits."""
        for queue in (self, *self._parts):
            queue.active += count

    def first(self, ahead: bool) -> tuple[Rank, int, _Wait] | None:
        """Return the first wait of a kind that is not over; a wait is in the heap once for each rank that it had."""
        heap = self._heaps[ahead]
        while heap and heap[0][2].granted.done():
            heapq.heappop(heap)
        return heap[0] if heap else None

    def push(self, wait: _Wait, number: int) -> None:
        """Add a wait under the present rank of its ticket."""
        heapq.heappush(self._heaps[wait.ticket.ahead], (wait.ticket.rank, number, wait))

    def __len__(self) -> int:
        return sum(map(len, self._heaps.values()))


class RequestQueue:
    """A semaphore whose permits go to the lowest rank among the hosts that have space, in any order of arrival.

    With more than one permit, one of them is for planning while an image waits for its plan.
    Belongs to one event loop. `repr()` is a line of its state.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        #: The number of requests that have begun.
        self.begun = 0
        self._free = count
        self._ahead = 0
        self._numbers = itertools.count()
        self._host_queues: list[HostQueue] = []

    def host_queue(self, *parts: HostQueue) -> HostQueue:
        """Make the queue of a host, or of requests that need all of some hosts, with a place for each permit."""
        host_queue = HostQueue(self.count, parts)
        self._host_queues.append(host_queue)
        return host_queue

    @asynccontextmanager
    async def hold(self, ticket: Ticket, host_queue: HostQueue) -> AsyncIterator[None]:
        """Wait for a permit, and hold it for the block."""
        await self._acquire(ticket, host_queue)
        try:
            yield
        finally:
            self._release(ticket, host_queue)

    def begin(self) -> int:
        """Note that a request begins, and return its number."""
        self.begun += 1
        return self.begun

    def raise_rank(self, ticket: Ticket, rank: Rank) -> None:
        """Let a ticket go earlier, also while it waits; a later rank changes nothing."""
        if rank < ticket.rank:
            ticket.rank = rank
            if ticket._wait is not None:
                ticket._wait.host_queue.push(ticket._wait, next(self._numbers))

    def grant(self) -> None:
        """Give the free permits to those that wait; to be called when the limit of a host was raised."""
        while self._free > 0 and (wait := self._next()) is not None:
            wait.granted.set_result(None)
            self._take(wait.ticket, wait.host_queue)

    def _next(self) -> _Wait | None:
        """Choose the next wait."""
        queues = [queue for queue in self._host_queues if queue.has_space]
        kinds = (True, False) if self._ahead or self.count == 1 else (True,)
        first = [entry for kind in kinds for queue in queues if (entry := queue.first(kind)) is not None]
        if not first and kinds == (True,):
            first = [entry for queue in queues if (entry := queue.first(False)) is not None]
        return min(first, key=lambda entry: entry[:2])[2] if first else None

    def _take(self, ticket: Ticket, host_queue: HostQueue) -> None:
        self._free -= 1
        self._ahead += ticket.ahead
        host_queue.add(1)

    async def _acquire(self, ticket: Ticket, host_queue: HostQueue) -> None:
        # Nothing waits while there is space: a ticket would have been granted.
        if self._free > 0 and host_queue.has_space:
            self._take(ticket, host_queue)
            return
        wait = ticket._wait = _Wait(ticket, host_queue)
        host_queue.push(wait, next(self._numbers))
        try:
            await wait.granted
        except asyncio.CancelledError:
            # Either nothing was granted, and the entry in the heap is over; or a permit must be given back.
            if wait.granted.done() and not wait.granted.cancelled():
                self._release(ticket, host_queue)
            raise
        finally:
            ticket._wait = None

    def _release(self, ticket: Ticket, host_queue: HostQueue) -> None:
        self._free += 1
        self._ahead -= ticket.ahead
        host_queue.add(-1)
        self.grant()

    def __repr__(self) -> str:
        queued = sum(map(len, self._host_queues))
        return f"<RequestQueue {self.count - self._free} of {self.count} held, {queued} queued>"
