"""A request gets its place when its hosts are open and a permit is free."""

from __future__ import annotations

import asyncio

from hangar_async.engine.limits.hosts import Asked, Hosts
from hangar_async.engine.limits.queue import RequestQueue, Ticket
from tests.engine.limits.rig import POLICY, busy, permits
from tests.fakes.clock import FakeClock


async def test_a_place_is_waited_for_while_a_host_is_closed_and_given_back() -> None:
    time = FakeClock()
    hosts = Hosts(RequestQueue(permits(1)), POLICY, lambda event: None, time.clock)
    hosts.host("h").pause(7.0, busy(7.0))
    hosts.host("h").pause(3.0, busy(3.0))
    assert hosts.closed == {"h": (7.0, "too many requests")}
    for number in (1, 2):
        async with asyncio.timeout(10), hosts.hold(Asked("h"), Ticket((0,))) as found:
            assert (found, hosts.host("h").queue.active) == (number, 1)
        assert hosts.host("h").queue.active == 0
    assert (time.waits, hosts.closed) == ([7.0], {})
