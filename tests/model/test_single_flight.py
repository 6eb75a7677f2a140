"""Joins, ends and cancellations of single flights in any order, beside a plain model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hangar_async.singleflight import SingleFlight
from tests.model.plans import EXAMPLES, examples

#: A machine of many steps takes long where other work takes the processors.
pytestmark = pytest.mark.timeout(140 * max(1, EXAMPLES // 500))

KEYS = ("a", "b", "c")
#: How work ends: with a result, with an error, or by its cancellation.
End = Literal["result", "error", "cancelled"]
ENDS: st.SearchStrategy[End] = st.sampled_from(["result", "error", "cancelled"])


@dataclass(eq=False)
class Work:
    """One run of the work of a key; when it is cancelled it takes its time to end."""

    key: str
    number: int
    #: running; cancelled, and not over yet; over.
    state: str = "running"
    cancellations: int = 0
    ending: asyncio.Future[End] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def run(self) -> int:
        try:
            return await self.wait_for_end()
        finally:
            self.state = "over"

    async def wait_for_end(self) -> int:
        while True:
            try:
                end = await asyncio.shield(self.ending)
            except asyncio.CancelledError:
                self.cancellations += 1
                self.state = "cancelled"
                continue
            if end == "cancelled":
                raise asyncio.CancelledError
            if end == "error":
                raise LookupError(self.number)
            return self.number


@dataclass(eq=False)
class Waiter:
    """One who joined; `expected` is the outcome as the model says, several where two things happen at once."""

    key: str
    task: asyncio.Task[int]
    #: The work that it waits for; None while it waits for the end of a cancelled one.
    work: Work | None = None
    expected: set[Any] = field(default_factory=lambda: {None})

    @property
    def outcome(self) -> Any:
        """None while it waits; the number of the work; the error with its number; "cancelled"."""
        if not self.task.done():
            return None
        if self.task.cancelled():
            return "cancelled"
        error = self.task.exception()
        return self.task.result() if error is None else (type(error), *error.args)


class SingleFlightMachine(RuleBasedStateMachine):
    """Each work has one run at a time, and each who joins gets its end, or the own cancellation."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.waiters: list[Waiter] = []
        self.works: list[Work] = []
        self.block: asyncio.Task[None] | None = None

    def settle(self) -> None:
        async def turns() -> None:
            for _ in range(12):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        # Those that waited for the end of a cancelled work have joined the next one.
        for waiter in self.waiters:
            if waiter.expected == {None} and waiter.work is None:
                waiter.work = self.current(waiter.key)
                if waiter.work is not None and waiter.work.state == "cancelled":
                    waiter.work = None

    def turn(self, turns: int) -> None:
        for _ in range(turns):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    @initialize(late=st.lists(st.sampled_from(KEYS), max_size=3), turns=st.integers(0, 4))
    def enter(self, late: list[str], turns: int) -> None:
        self.late, self.late_turns = late, turns
        self.leaving = self.loop.create_future()

        async def block() -> None:
            async with SingleFlight() as self.flights:
                await self.leaving

        self.block = self.loop.create_task(block())
        self.settle()

    def current(self, key: str) -> Work | None:
        """The work of a key that is not over."""
        works = [work for work in self.works if work.key == key and work.state != "over"]
        assert len(works) <= 1, f"{len(works)} at once"
        return works[0] if works else None

    def pending(self, key: str) -> list[Waiter]:
        return [waiter for waiter in self.waiters if waiter.key == key and waiter.expected == {None}]

    def joined(self, key: str) -> list[Waiter]:
        """Those that wait for work that runs."""
        return [waiter for waiter in self.pending(key) if waiter.work is not None]

    def start_join(self, key: str) -> Waiter:
        async def work() -> int:
            assert self.current(key) is None, "two at once"
            self.works.append(Work(key, len(self.works)))
            return await self.works[-1].run()

        self.waiters.append(Waiter(key, self.loop.create_task(self.flights.join(key, work))))
        return self.waiters[-1]

    @rule(key=st.sampled_from(KEYS))
    def join(self, key: str) -> None:
        self.start_join(key)
        self.settle()

    @rule(key=st.sampled_from(KEYS), turns=st.integers(0, 4))
    def join_and_cancel(self, key: str, turns: int) -> None:
        """Cancel one who has just joined, at each step of its way."""
        waiter, before = self.start_join(key), self.current(key)
        self.turn(turns)
        self.cancel_waiter(waiter)
        self.settle()
        work = self.current(key)
        assert work is before or (work is not None and before is None and work.state == "cancelled")

    def cancel_waiter(self, waiter: Waiter) -> None:
        waiter.task.cancel()
        waiter.expected = {"cancelled"}

    @precondition(lambda self: any(map(self.pending, KEYS)))
    @rule(data=st.data(), count=st.integers(1, 3))
    def cancel(self, data: st.DataObject, count: int) -> None:
        """Cancel some of those that wait, or all, at the same moment."""
        key = data.draw(st.sampled_from([key for key in KEYS if self.pending(key)]))
        for waiter in data.draw(st.permutations(self.pending(key)))[:count]:
            self.cancel_waiter(waiter)
        self.settle()

    @precondition(lambda self: any(map(self.joined, KEYS)))
    @rule(data=st.data(), join_first=st.booleans())
    def cancel_all_and_join(self, data: st.DataObject, join_first: bool) -> None:
        """Join at the moment at which the last one gives up: the work goes on, or the next one starts after it."""
        key = data.draw(st.sampled_from([key for key in KEYS if self.joined(key)]))
        before, work = self.pending(key), self.current(key)
        if join_first:
            self.start_join(key).work = work
        for waiter in before:
            self.cancel_waiter(waiter)
        if not join_first:
            self.start_join(key)
        self.settle()
        assert work is not None
        assert work.state == ("running" if join_first else "cancelled")

    def end_work(self, work: Work, end: End) -> None:
        work.ending.set_result(end)
        outcome = {"result": work.number, "error": (LookupError, work.number), "cancelled": "cancelled"}[end]
        for waiter in self.joined(work.key):
            waiter.expected = {outcome}

    @precondition(lambda self: any(map(self.current, KEYS)))
    @rule(data=st.data(), end=ENDS)
    def end(self, data: st.DataObject, end: End) -> None:
        """Let work end, also one that was cancelled: it may have a result all the same."""
        work = data.draw(st.sampled_from([work for key in KEYS if (work := self.current(key))]))
        self.end_work(work, end)
        self.settle()

    @precondition(lambda self: any(map(self.joined, KEYS)))
    @rule(data=st.data(), end=ENDS, count=st.integers(1, 3), cancel_first=st.booleans(), turns=st.integers(0, 4))
    def end_and_cancel(self, data: st.DataObject, end: End, count: int, cancel_first: bool, turns: int) -> None:
        """Cancel at the moment at which the work ends: each gets the end or the own cancellation."""
        key = data.draw(st.sampled_from([key for key in KEYS if self.joined(key)]))
        work, waiters = self.current(key), self.joined(key)[:count]
        assert work is not None
        if cancel_first:
            for waiter in waiters:
                waiter.task.cancel()
        self.end_work(work, end)
        self.turn(turns)
        for waiter in waiters:
            waiter.task.cancel()
            waiter.expected.add("cancelled")
        self.settle()

    @invariant()
    def everybody_has_what_the_model_says(self) -> None:
        for waiter in self.waiters:
            assert waiter.outcome in waiter.expected
        if self.block is not None:
            assert {key for key in KEYS if key in self.flights} == {key for key in KEYS if self.current(key)}
        for work in self.works:
            assert work.cancellations <= 1, "its clean-up was cut short"
            assert (work.state == "running") <= bool(self.joined(work.key)), "nobody waits for it"
        for key in KEYS:
            current = self.current(key)
            # One who waits for no work waits for the end of a cancelled one.
            waits_for_end = any(waiter.work is None for waiter in self.pending(key))
            assert not waits_for_end or (current is not None and current.state == "cancelled")

    def teardown(self) -> None:
        """Leave the block, with work that runs, with some that takes its time to end, and some that has just begun."""
        if self.block is not None:
            for key in self.late:
                self.start_join(key)
            # The work may not have begun.
            self.turn(self.late_turns)
            self.leaving.set_result(None)
            self.settle()
            for work in [work for work in self.works if work.state != "over"]:
                assert not self.block.done()
                assert work.state == "cancelled"
                work.ending.set_result("cancelled")
            for waiter in self.waiters:
                if waiter.expected == {None}:
                    waiter.expected = {"cancelled"}
            self.settle()
            assert self.block.done()
            self.block.result()
            assert not any(key in self.flights for key in KEYS)
            for waiter in self.waiters:
                assert waiter.outcome in waiter.expected
        assert not asyncio.all_tasks(self.loop)
        self.loop.close()


TestSingleFlight = SingleFlightMachine.TestCase
TestSingleFlight.settings = settings(examples(20), stateful_step_count=40)
