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


class Turn:
    """A place in the queue for permits; its rank may be raised while it waits. `ahead` is for what only plans."""

    def __init__(self, rank: Rank, *, ahead: bool = False) -> None:
        self.rank = rank
        self.ahead = ahead
        self._lane: Lane | None = None
        self._granted: asyncio.Future[None] | None = None

    @property
    def _waits(self) -> bool:
        return self._granted is not None and not self._granted.done()


class Lane:
    """The part of the queue that is for one host: at most `limit` of the permits are given to it at once."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.active = 0
        self._queues: dict[bool, list[tuple[Rank, int, Turn]]] = {False: [], True: []}

    @property
    def has_room(self) -> bool:
        """Whether one more may be given to it."""
        return self.active < max(1, int(self.limit))

    def _first(self, ahead: bool) -> tuple[Rank, int, Turn] | None:
        """The first turn of a kind that still waits: one stands in the queue once for each rank that it had."""
        queue = self._queues[ahead]
        while queue and not queue[0][2]._waits:
            heapq.heappop(queue)
        return queue[0] if queue else None


class Permits:
    """A semaphore whose permits go to the waiter of the lowest rank whose lane has room, whoever came first.

    Where there is more than one, one of them goes to planning ahead as long as anything is to be planned. Belongs to
    one event loop. `repr()` is a line of its state.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._ahead = 0
        self._numbers = itertools.count()
        self._lanes: list[Lane] = []

    def lane(self) -> Lane:
        """Make a lane, for as many permits as there are."""
        lane = Lane(self.count)
        self._lanes.append(lane)
        return lane

    @asynccontextmanager
    async def hold(self, turn: Turn, lane: Lane) -> AsyncIterator[None]:
        """Wait for a permit, and hold it for the block."""
        await self._acquire(turn, lane)
        try:
            yield
        finally:
            self._release(turn, lane)

    def raise_rank(self, turn: Turn, rank: Rank) -> None:
        """Let a turn go earlier, also while it waits; a later rank changes nothing."""
        if rank < turn.rank:
            turn.rank = rank
            if turn._waits and turn._lane is not None:
                self._push(turn, turn._lane)

    def grant(self) -> None:
        """Give what is free to those who wait; to be called when the limit of a lane was raised."""
        while self._free > 0 and (found := self._next()) is not None:
            turn, lane = found
            assert turn._granted is not None  # noqa: S101 - it waits
            turn._granted.set_result(None)
            self._take(turn, lane)

    def _next(self) -> tuple[Turn, Lane] | None:
        """Choose whose turn it is."""
        open_lanes = [lane for lane in self._lanes if lane.has_room]
        kinds = (True, False) if self._ahead or self.count == 1 else (True,)
        waiting = [(first, lane) for kind in kinds for lane in open_lanes if (first := lane._first(kind)) is not None]
        if not waiting and kinds == (True,):
            waiting = [(first, lane) for lane in open_lanes if (first := lane._first(False)) is not None]
        if not waiting:
            return None
        (_, _, turn), lane = min(waiting, key=lambda found: found[0][:2])
        return turn, lane

    def _take(self, turn: Turn, lane: Lane) -> None:
        self._free -= 1
        self._ahead += turn.ahead
        lane.active += 1

    async def _acquire(self, turn: Turn, lane: Lane) -> None:
        # Where there is room nobody waits: it would have been granted.
        if self._free > 0 and lane.has_room:
            self._take(turn, lane)
            return
        turn._lane = lane
        turn._granted = asyncio.get_running_loop().create_future()
        self._push(turn, lane)
        try:
            await turn._granted
        except asyncio.CancelledError:
            # Either nothing was granted yet, and the entry in the queue is dead; or a permit is ours to give back.
            if turn._granted.done() and not turn._granted.cancelled():
                self._release(turn, lane)
            raise
        finally:
            turn._granted = None

    def _push(self, turn: Turn, lane: Lane) -> None:
        heapq.heappush(lane._queues[turn.ahead], (turn.rank, next(self._numbers), turn))

    def _release(self, turn: Turn, lane: Lane) -> None:
        self._free += 1
        self._ahead -= turn.ahead
        lane.active -= 1
        self.grant()

    def __repr__(self) -> str:
        queued = sum(len(queue) for lane in self._lanes for queue in lane._queues.values())
        return f"<Permits {self.count - self._free} of {self.count} held, {queued} queued>"
