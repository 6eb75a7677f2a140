"""The permits of a run: how many requests are made at once, in all and at each host, and whose turn is next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

#: What is compared: the image's place in the list, then the order within the image. The lowest goes first.
Rank: TypeAlias = tuple[int, ...]


def planning_rank(number: int) -> Rank:
    """The rank of what is asked to plan the image of this place in the list: before its blobs."""
    return (number, 0)


def is_planning(rank: Rank) -> bool:
    """Whether a rank is one of planning."""
    return rank[1:2] == (0,)


def blob_rank(number: int, size: int) -> Rank:
    """The rank of a blob of the image of this place in the list: the largest goes first."""
    return (number, 1, -size)


class Ticket:
    """A place in the queue for permits; its rank may be raised while it waits. `ahead` is for what only plans."""

    def __init__(self, rank: Rank, *, ahead: bool = False) -> None:
        self.rank = rank
        self.ahead = ahead
        self._host_queue: HostQueue | None = None
        self._granted: asyncio.Future[None] | None = None

    @property
    def _waits(self) -> bool:
        return self._granted is not None and not self._granted.done()


class HostQueue:
    """The part of the queue that is for one host: at most `limit` of the permits are given to it at once."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.active = 0
        self._queues: dict[bool, list[tuple[Rank, int, Ticket]]] = {False: [], True: []}

    @property
    def has_space(self) -> bool:
        """Whether one more may be given to it."""
        return self.active < max(1, int(self.limit))

    def _first(self, ahead: bool) -> tuple[Rank, int, Ticket] | None:
        """The first turn of a kind that still waits: one stands in the queue once for each rank that it had."""
        queue = self._queues[ahead]
        while queue and not queue[0][2]._waits:
            heapq.heappop(queue)
        return queue[0] if queue else None


class RequestQueue:
    """A semaphore whose permits go to the waiter of the lowest rank whose lane has room, whoever came first.

    Where there is more than one, one of them goes to planning ahead as long as anything is to be planned. Belongs to
    one event loop. `repr()` is a line of its state.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._ahead = 0
        self._numbers = itertools.count()
        self._host_queues: list[HostQueue] = []

    def host_queue(self) -> HostQueue:
        """Make a lane, for as many permits as there are."""
        host_queue = HostQueue(self.count)
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

    def raise_rank(self, ticket: Ticket, rank: Rank) -> None:
        """Let a turn go earlier, also while it waits; a later rank changes nothing."""
        if rank < ticket.rank:
            ticket.rank = rank
            if ticket._waits and ticket._host_queue is not None:
                self._push(ticket, ticket._host_queue)

    def grant(self) -> None:
        """Give what is free to those who wait; to be called when the limit of a lane was raised."""
        while self._free > 0 and (found := self._next()) is not None:
            ticket, host_queue = found
            assert ticket._granted is not None  # noqa: S101 - it waits
            ticket._granted.set_result(None)
            self._take(ticket, host_queue)

    def _next(self) -> tuple[Ticket, HostQueue] | None:
        """Choose whose turn it is."""
        open_queues = [host_queue for host_queue in self._host_queues if host_queue.has_space]
        kinds = (True, False) if self._ahead or self.count == 1 else (True,)
        waiting = [
            (first, host_queue)
            for kind in kinds
            for host_queue in open_queues
            if (first := host_queue._first(kind)) is not None
        ]
        if not waiting and kinds == (True,):
            waiting = [
                (first, host_queue) for host_queue in open_queues if (first := host_queue._first(False)) is not None
            ]
        if not waiting:
            return None
        (_, _, ticket), host_queue = min(waiting, key=lambda found: found[0][:2])
        return ticket, host_queue

    def _take(self, ticket: Ticket, host_queue: HostQueue) -> None:
        self._free -= 1
        self._ahead += ticket.ahead
        host_queue.active += 1

    async def _acquire(self, ticket: Ticket, host_queue: HostQueue) -> None:
        # Where there is room nobody waits: it would have been granted.
        if self._free > 0 and host_queue.has_space:
            self._take(ticket, host_queue)
            return
        ticket._host_queue = host_queue
        ticket._granted = asyncio.get_running_loop().create_future()
        self._push(ticket, host_queue)
        try:
            await ticket._granted
        except asyncio.CancelledError:
            # Either nothing was granted yet, and the entry in the queue is dead; or a permit is ours to give back.
            if ticket._granted.done() and not ticket._granted.cancelled():
                self._release(ticket, host_queue)
            raise
        finally:
            ticket._granted = None

    def _push(self, ticket: Ticket, host_queue: HostQueue) -> None:
        heapq.heappush(host_queue._queues[ticket.ahead], (ticket.rank, next(self._numbers), ticket))

    def _release(self, ticket: Ticket, host_queue: HostQueue) -> None:
        self._free += 1
        self._ahead -= ticket.ahead
        host_queue.active -= 1
        self.grant()

    def __repr__(self) -> str:
        queued = sum(len(queue) for host_queue in self._host_queues for queue in host_queue._queues.values())
        return f"<Permits {self.count - self._free} of {self.count} held, {queued} queued>"
