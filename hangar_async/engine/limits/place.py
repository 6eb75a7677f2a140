"""The place of a request: a permit, at hosts that are open."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from hangar_async.engine.limits.queue import Ticket

if TYPE_CHECKING:
    from hangar_async.engine.limits.hosts import Asked, Hosts


class Place:
    """The place of a request at its hosts: a permit, and a number."""

    def __init__(self, hosts: Hosts, asked: Asked, ticket: Ticket, wait: bool) -> None:
        self._all, self._asked, self._ticket, self._wait = hosts, asked, ticket, wait

    async def __aenter__(self) -> int:
        """Wait for it; returns the number."""
        queue, meters = self._all.queue, self._all.meters
        while True:
            self._hosts = hosts = self._all.hosts_of(self._asked)
            for host in hosts:
                with nullcontext() if host.is_open else meters.waiting(host.name):
                    await (host.wait_until_open() if self._wait else host.check_open())
            self._permit = queue.hold(self._ticket, self._all.queue_of(hosts))
            with meters.waiting():
                await self._permit.__aenter__()
            # They may have been closed, or become others, during the wait in the queue.
            if hosts == self._all.hosts_of(self._asked) and all(host.is_open for host in hosts):
                break
            await self._permit.__aexit__()
        self._number = queue.begin()
        for host in hosts:
            host.begin(self._number)
        meters.begin()
        return self._number

    async def __aexit__(self, *error: object) -> None:
        """Give it back."""
        self._all.meters.end()
        for host in self._hosts:
            host.end(self._number)
        await self._permit.__aexit__(*error)
