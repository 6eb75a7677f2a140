"""The permits of a run: how many requests are made at once, and whose turn is next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

#: What is compared: the image's place in the list, then the order within the image. The lowest goes first.
Rank: TypeAlias = tuple[int, ...]


class Turn:
    """A place in the queue for permits; its rank may be raised while it waits."""

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self._granted: asyncio.Future[None] | None = None


class Permits:
    """A semaphore whose permits go to the waiter of the lowest rank, whoever came first.

    Belongs to one event loop. `repr()` is a line of its state.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._numbers = itertools.count()
        self._queue: list[tuple[Rank, int, Turn]] = []

    @asynccontextmanager
    async def hold(self, turn: Turn) -> AsyncIterator[None]:
        """Wait for a permit, and hold it for the block."""
        await self._acquire(turn)
        try:
            yield
        finally:
            self._release()

    def raise_rank(self, turn: Turn, rank: Rank) -> None:
        """Let a turn go earlier, also while it waits; a later rank changes nothing."""
        if rank < turn.rank:
            turn.rank = rank
            if turn._granted is not None and not turn._granted.done():
                self._push(turn)

    async def _acquire(self, turn: Turn) -> None:
        if self._free > 0:
            self._free -= 1
            return
        turn._granted = asyncio.get_running_loop().create_future()
        self._push(turn)
        try:
            await turn._granted
        except asyncio.CancelledError:
            # Either nothing was granted yet, and the entry in the queue is dead; or a permit is ours to give back.
            if turn._granted.done() and not turn._granted.cancelled():
                self._release()
            raise
        finally:
            turn._granted = None

    def _push(self, turn: Turn) -> None:
        heapq.heappush(self._queue, (turn.rank, next(self._numbers), turn))

    def _release(self) -> None:
        # A turn stands in the queue once for each rank it had; only the entry of a turn that still waits counts.
        while self._queue:
            _, _, turn = heapq.heappop(self._queue)
            if turn._granted is not None and not turn._granted.done():
                turn._granted.set_result(None)
                return
        self._free += 1

    def __repr__(self) -> str:
        return f"<Permits {self.count - self._free} of {self.count} held, {len(self._queue)} queued>"
