"""Permits go to the lowest rank among the hosts that have space."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from hangar_async.config.jobs import JobLimits
from hangar_async.engine.limits.queue import HostQueue, RequestQueue, Ticket, blob_rank
from tests.engine.limits.rig import permits

#: A machine of many steps takes long where other work takes the processors.
pytestmark = pytest.mark.timeout(140)


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_lowest_rank_goes_first() -> None:
    queue = RequestQueue(permits(1))
    host_queue = queue.host_queue()
    order: list[int] = []

    async def work(ticket: Ticket) -> None:
        async with queue.hold(ticket, host_queue):
            order.append(ticket.rank[0])

    async with asyncio.TaskGroup() as group, queue.hold(Ticket((0,)), host_queue):
        for rank in (5, 3, 4, 1, 2):
            group.create_task(work(Ticket((rank,))))
        await _settle()
        assert repr(queue) == "<RequestQueue 1 of 1 held, 5 queued>"
    assert order == [1, 2, 3, 4, 5]
    assert repr(queue) == "<RequestQueue 0 of 1 held, 0 queued>"


async def test_a_rank_is_raised_while_it_waits() -> None:
    queue = RequestQueue(permits(1))
    host_queue = queue.host_queue()
    order: list[str] = []

    async def work(name: str, ticket: Ticket) -> None:
        async with queue.hold(ticket, host_queue):
            order.append(name)

    late, middle = Ticket((9,)), Ticket((5,))
    async with asyncio.TaskGroup() as group, queue.hold(Ticket((0,)), host_queue):
        group.create_task(work("middle", middle))
        group.create_task(work("late", late))
        await _settle()
        queue.raise_rank(late, (1,))
        queue.raise_rank(middle, (7,))  # a later rank changes nothing
    assert order == ["late", "middle"]
    assert middle.rank == (5,)


async def test_a_cancelled_waiter_gives_its_place_away() -> None:
    queue = RequestQueue(permits(1))
    host_queue = queue.host_queue()
    got: list[str] = []

    async def work(name: str, ticket: Ticket) -> None:
        async with queue.hold(ticket, host_queue):
            got.append(name)

    async with queue.hold(Ticket((0,)), host_queue):
        first = asyncio.create_task(work("first", Ticket((1,))))
        second = asyncio.create_task(work("second", Ticket((2,))))
        await _settle()
        first.cancel()
        await _settle()
    await second
    assert got == ["second"]
    assert "0 of 1 held" in repr(queue)


async def test_a_permit_granted_to_a_task_that_is_cancelled_at_that_moment_is_not_lost() -> None:
    queue = RequestQueue(permits(1))
    host_queue = queue.host_queue()

    async def work() -> None:
        async with queue.hold(Ticket((1,)), host_queue):
            pytest.fail("it was cancelled")

    async with queue.hold(Ticket((0,)), host_queue):
        waiting = asyncio.create_task(work())
        await _settle()
    waiting.cancel()  # the permit is granted, the task has not run yet
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(5), queue.hold(Ticket((2,)), host_queue):
        assert "1 of 1 held" in repr(queue)


async def test_a_lane_that_is_full_lets_others_by() -> None:
    queue = RequestQueue(permits(4))
    narrow, wide = queue.host_queue(), queue.host_queue()
    narrow.limit = 1.9
    order: list[str] = []
    go_on = asyncio.Event()

    async def work(name: str, ticket: Ticket, host_queue: HostQueue) -> None:
        async with queue.hold(ticket, host_queue):
            order.append(name)
            await go_on.wait()

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(work(f"narrow {number}", Ticket((number,)), narrow))
        for number in range(4):
            group.create_task(work(f"wide {number}", Ticket((10 + number,)), wide))
        await _settle()
        assert order == ["narrow 0", "wide 0", "wide 1", "wide 2"]
        narrow.limit = 4
        queue.grant()
        await _settle()
        assert len(order) == 4  # no permit is free
        go_on.set()
    assert order[4:] == ["narrow 1", "narrow 2", "wide 3"]


async def test_a_request_for_two_hosts_takes_a_place_of_both() -> None:
    queue = RequestQueue(permits(4))
    one, two = queue.host_queue(), queue.host_queue()
    both = queue.host_queue(one, two)
    two.limit = 1
    async with queue.hold(Ticket((0,)), both):
        assert (one.active, two.active, both.active) == (1, 1, 1)
        waiting = asyncio.create_task(queue.hold(Ticket((1,)), both).__aenter__())
        async with queue.hold(Ticket((2,)), one):  # it is let by
            await _settle()
            assert not waiting.done()
    await waiting
    assert (one.active, two.active) == (1, 1)


async def test_a_lane_is_never_shut() -> None:
    queue = RequestQueue(permits(2))
    host_queue = queue.host_queue()
    host_queue.limit = 0.1
    async with asyncio.timeout(5), queue.hold(Ticket((0,)), host_queue):
        assert not host_queue.has_space


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans()), max_size=25), st.integers(1, 4))
def test_never_more_than_there_are_and_none_lost(jobs: list[tuple[int, int, bool]], count: int) -> None:
    async def run() -> None:
        queue = RequestQueue(permits(count))
        host_queue = queue.host_queue()
        held = peak = 0

        async def work(rank: int, steps: int) -> None:
            nonlocal held, peak
            async with queue.hold(Ticket((rank,)), host_queue):
                held += 1
                peak = max(peak, held)
                try:
                    for _ in range(steps):
                        await asyncio.sleep(0)
                finally:
                    held -= 1

        tasks = [asyncio.create_task(work(rank, steps)) for rank, steps, _ in jobs]
        await asyncio.sleep(0)
        for task, (_, _, cancelled) in zip(tasks, jobs, strict=True):
            if cancelled:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert peak <= count
        assert held == 0
        assert f"0 of {count} held" in repr(queue)

    asyncio.run(run())


async def test_planning_gets_one_permit_and_what_nothing_else_waits_for() -> None:
    queue = RequestQueue(permits(3))
    host_queue = queue.host_queue()
    held: list[str] = []
    done = {f"{name} {number}": asyncio.Event() for name in ("blob", "plan") for number in range(3)}

    async def work(name: str, ticket: Ticket) -> None:
        async with queue.hold(ticket, host_queue):
            held.append(name)
            await done[name].wait()

    async with asyncio.TaskGroup() as group:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(queue.hold(Ticket((0,)), host_queue))
            for number in range(3):
                group.create_task(work(f"blob {number}", Ticket((number, 1, -5))))
                group.create_task(work(f"plan {number}", Ticket((number, 0), ahead=True)))
            await _settle()
        await _settle()
        assert held == ["plan 0", "blob 0", "blob 1"]
        for name, following in (("blob 0", "blob 2"), ("plan 0", "plan 1"), ("blob 1", "plan 2")):
            done[name].set()
            await _settle()
            assert held[-1] == following
        for event in done.values():
            event.set()


@pytest.mark.parametrize(
    ("blobs", "sizes", "cancelled", "order"),
    [
        # Together they take 58 / 2, less than the last one alone when the first one is gone.
        (2, [(1, 30), (2, 4), (3, 3), (4, 21)], None, [30, 21, 4, 3]),
        # A cancelled wait is no part of that.
        (2, [(1, 5), (2, 90), (3, 9), (4, 8)], 1, [5, 9, 8]),
        # An image has no more permits for it.
        (1, [(9, 40), (9, 40), (10, 1)], None, [40, 1, 40]),
    ],
)
async def test_a_blob_for_which_the_end_would_wait_goes_first(
    blobs: int, sizes: Sequence[tuple[int, int]], cancelled: int | None, order: list[int]
) -> None:
    queue = RequestQueue(permits(2, blobs))
    host_queue = queue.host_queue()
    begun: list[int] = []

    async def work(image: int, size: int) -> None:
        async with queue.hold(Ticket(blob_rank(image, size)), host_queue):
            begun.append(size)
            await _settle()

    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        for image in range(2):
            await stack.enter_async_context(queue.hold(Ticket((image,)), host_queue))
        tasks = [group.create_task(work(*one)) for one in sizes]
        await _settle()
        if cancelled is not None:
            tasks[cancelled].cancel()
            await _settle()
    assert begun == order


async def test_waits_that_are_over_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangar_async.engine.limits.queue._LEAST_NOTED", 10)
    queue = RequestQueue(permits(1))
    host_queue = queue.host_queue()

    async def work(size: int) -> None:
        async with queue.hold(Ticket(blob_rank(1, size)), host_queue):
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group, queue.hold(Ticket((0,)), host_queue):
        large = group.create_task(work(1_000_000))
        for size in range(1, 200):
            task = group.create_task(work(size))
            await _settle()
            task.cancel()
            await _settle()
        assert len(queue._largest) <= 10
        large.cancel()


async def test_a_plan_that_an_earlier_image_needs_as_a_blob_is_no_plan_any_more() -> None:
    queue = RequestQueue(permits(1))
    host_queue = queue.host_queue()
    order: list[str] = []

    async def work(name: str, ticket: Ticket) -> None:
        async with queue.hold(ticket, host_queue):
            order.append(name)

    config = Ticket((5, 0), ahead=True)
    async with asyncio.TaskGroup() as group, queue.hold(Ticket((0,)), host_queue):
        group.create_task(work("config", config))
        group.create_task(work("blob", Ticket((3, 1))))
        await _settle()
        queue.raise_rank(config, (2, 1))
    assert order == ["config", "blob"]


async def test_an_image_has_a_number_of_permits_and_the_rest_is_for_the_next() -> None:
    queue = RequestQueue(permits(5, 3))
    host_queue = queue.host_queue()
    async with AsyncExitStack() as stack:
        order = await _held(queue, host_queue, stack, [0] * 6 + [1] * 6 + [2] * 6)
        assert order == [0, 0, 0, 1, 1]


async def test_what_is_left_of_the_list_shares_all_permits() -> None:
    queue = RequestQueue(JobLimits(4, 3, 12))
    host_queue = queue.host_queue()
    queue.images_left = 5
    async with AsyncExitStack() as stack:
        order = await _held(queue, host_queue, stack, [7] * 12 + [8] * 12)
        assert order == [7, 7, 7, 8, 8, 8]
        queue.image_ended()  # four are left
        await _settle()
        assert len(order) == 6
        queue.image_ended()  # three of four
        await _settle()
        assert order[6:] == [7, 8]
        queue.image_ended()
        await _settle()
        assert order[8:] == [7, 7, 8, 8]


async def _held(queue: RequestQueue, host_queue: HostQueue, stack: AsyncExitStack, images: Sequence[int]) -> list[int]:
    """Ask for a permit for each of these images; return those that have one, and will get one, in their order."""
    order: list[int] = []

    async def hold(image: int) -> None:
        async with queue.hold(Ticket((image,)), host_queue):
            order.append(image)
            await asyncio.Event().wait()

    group = await stack.enter_async_context(asyncio.TaskGroup())
    tasks = [group.create_task(hold(image)) for image in images]
    stack.callback(lambda: [task.cancel() for task in tasks])
    await _settle()
    return order


@dataclass(eq=False)
class Wish:
    """A ticket in the machine, with the model of its state."""

    ticket: Ticket
    host: int
    number: int
    rank: int
    task: asyncio.Task[None] | None = None
    release: asyncio.Event = field(default_factory=asyncio.Event)
    #: What the queue did, and what the model says: waiting, held or over.
    state: str = "waiting"
    expected: str = "waiting"
    #: The image that a permit counts for.
    image: int | None = None


class QueueMachine(RuleBasedStateMachine):
    """Any order of arrivals, releases, cancellations, raised ranks and changed limits, beside a plain model.

    The last queue is for requests that need both hosts.
    """

    NEEDS = ((0,), (1,), (0, 1))
    wishes: Bundle[Wish] = Bundle("wishes")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.count = 0
        self.numbers = 0
        self.all: list[Wish] = []

    def settle(self) -> None:
        self.loop.run_until_complete(_settle())

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def held(self, host: int | None = None) -> list[Wish]:
        held = [wish for wish in self.all if wish.expected == "held"]
        return [wish for wish in held if host is None or host in self.NEEDS[wish.host]]

    def space(self, queue: int) -> bool:
        return all(len(self.held(host)) < max(1, int(self.limits[host])) for host in self.NEEDS[queue])

    def has_image_space(self, image: int) -> bool:
        """Tell whether an image may have one more permit."""
        most = max(self.blobs, -(-self.count // max(self.left, 1))) if self.left < self.jobs else self.blobs
        return sum(wish.image == image for wish in self.held()) < most

    def grant(self) -> None:
        """Give permits as the documentation of the queue says."""
        while len(self.held()) < self.count:
            waiting = [wish for wish in self.all if wish.expected == "waiting" and self.space(wish.host)]
            plans = [wish for wish in waiting if wish.ticket.ahead]
            blobs = [wish for wish in waiting if not wish.ticket.ahead and self.has_image_space(wish.rank)]
            first = self.count > 1 and all(wish.image is not None for wish in self.held())
            waiting = (plans or blobs) if first else (blobs or plans)
            if not waiting:
                return
            self.give(min(waiting, key=lambda wish: (wish.rank, wish.number)))

    @staticmethod
    def give(wish: Wish) -> None:
        wish.expected = "held"
        wish.image = None if wish.ticket.ahead else wish.rank

    @initialize(count=st.integers(1, 4), jobs=st.integers(1, 3), blobs=st.integers(1, 3), left=st.integers(0, 4))
    def start(self, count: int, jobs: int, blobs: int, left: int) -> None:
        self.count, self.jobs, self.blobs, self.left = count, jobs, blobs, left
        self.queue = RequestQueue(JobLimits(jobs, blobs, count))
        self.queue.images_left = left
        self.hosts = [self.queue.host_queue() for _ in range(2)]
        self.hosts.append(self.queue.host_queue(*self.hosts))
        self.limits = [float(count)] * 2

    @rule(target=wishes, host=st.integers(0, 2), rank=st.integers(0, 5), ahead=st.booleans())
    def arrive(self, host: int, rank: int, ahead: bool) -> Wish:
        return self.hold(Ticket((rank,), ahead=ahead), host)

    @precondition(lambda self: any(wish.expected == "over" for wish in self.all))
    @rule(target=wishes, host=st.integers(0, 2), data=st.data())
    def arrive_again(self, host: int, data: st.DataObject) -> Wish:
        """Use the ticket of a request that has ended, as a run does that asks a mirror first."""
        free = {wish.ticket for wish in self.all} - {wish.ticket for wish in self.all if wish.expected != "over"}
        tickets = [wish.ticket for wish in self.all if wish.ticket in free]
        return self.hold(data.draw(st.sampled_from(tickets)) if tickets else Ticket((0,)), host)

    def hold(self, ticket: Ticket, host: int) -> Wish:
        wish = Wish(ticket, host, self.number(), ticket.rank[0])

        async def hold() -> None:
            try:
                async with self.queue.hold(wish.ticket, self.hosts[host]):
                    wish.state = "held"
                    await wish.release.wait()
            finally:
                wish.state = "over"

        self.all.append(wish)
        self.grant()
        wish.task = self.loop.create_task(hold())
        self.settle()
        return wish

    def over(self, wish: Wish, cancelled: bool) -> None:
        """Release a permit, or cancel a wait or what holds a permit; the tasks run later."""
        assert wish.task is not None
        if wish.expected == "held" and not cancelled:
            wish.release.set()
        else:
            wish.task.cancel()
        wish.expected = "over"

    @rule(wish=consumes(wishes), cancelled=st.booleans())
    def end(self, wish: Wish, cancelled: bool) -> None:
        self.over(wish, cancelled)
        self.grant()
        self.settle()

    @precondition(lambda self: any(wish.state == "waiting" for wish in self.all))
    @rule(cancelled=st.booleans(), turns=st.integers(0, 3))
    def end_and_cancel_the_next(self, cancelled: bool, turns: int) -> None:
        """Cancel a ticket at the moment at which it is granted the permit of another one, or right before."""
        if not self.held():
            return
        before = self.held()
        self.over(before[0], cancelled)
        expected = [wish.expected for wish in self.all]
        self.grant()
        for wish in self.all:
            if wish.expected == "held" and wish not in before:
                for _ in range(turns):
                    # One turn of the loop.
                    self.loop.call_soon(self.loop.stop)
                    self.loop.run_forever()
                if not turns:
                    # The permit is not given back yet: it goes to another one, and not from this one to another.
                    for one, state in zip(self.all, expected, strict=True):
                        one.expected = state
                self.over(wish, True)
                self.grant()
                break
        self.settle()

    @rule(wish=wishes, rank=st.integers(0, 5))
    def raise_rank(self, wish: Wish, rank: int) -> None:
        # The ticket may be one of a later request by now.
        wish = [other for other in self.all if other.ticket is wish.ticket][-1]
        self.queue.raise_rank(wish.ticket, (rank,))
        if rank < wish.rank:
            wish.rank, wish.number = rank, self.number()
            self.grant()
            self.settle()

    @precondition(lambda self: self.count and self.left > 0)
    @rule()
    def end_an_image(self) -> None:
        self.left -= 1
        self.queue.image_ended()
        self.grant()
        self.settle()

    @rule(host=st.integers(0, 1), limit=st.floats(0, 5))
    def limit(self, host: int, limit: float) -> None:
        self.limits[host] = self.hosts[host].limit = limit
        self.queue.grant()
        self.grant()
        self.settle()

    @invariant()
    def the_queue_is_as_the_model_says(self) -> None:
        assert [wish.state for wish in self.all] == [wish.expected for wish in self.all]
        if self.count:
            assert repr(self.queue).startswith(f"<RequestQueue {len(self.held())} of {self.count} held")
            assert [queue.active for queue in self.hosts[:2]] == [len(self.held(host)) for host in range(2)]
            assert self.hosts[2].active == sum(wish.host == 2 for wish in self.held())

    def teardown(self) -> None:
        tasks = [wish.task for wish in self.all if wish.task is not None]
        for task in tasks:
            task.cancel()
        self.settle()
        self.loop.close()
        assert all(task.done() for task in tasks)
        assert not self.count or f"0 of {self.count} held" in repr(self.queue)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(deadline=None, max_examples=150, stateful_step_count=50)
