"""The governor of a run: when each request is made, and what is tried again after it has failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from hangar_async.config.registries import RetryPolicy
from hangar_async.engine.events import HostClosed, Observer, Retrying
from hangar_async.engine.limits.clock import Clock
from hangar_async.engine.limits.hosts import Host, backoff, is_quota
from hangar_async.engine.limits.queue import Rank, RequestQueue, Ticket
from hangar_async.errors import HangarError

_T = TypeVar("_T")


class Retrier:
    """Runs the requests of all jobs: at most `jobs` at once, fewer at a host that has too much to do.

    A request that failed and may succeed is made again, `policy.retries` times in a row at most, without a permit
    during the wait. Neither waiting for a quota nor a try that gained bytes uses up one of these.
    """

    def __init__(self, jobs: int, policy: RetryPolicy, observe: Observer, clock: Clock | None = None) -> None:
        self._permits = RequestQueue(jobs)
        self._policy = policy
        self._observe = observe
        self._clock = clock or Clock()
        self._hosts: dict[str, Host] = {}

    def host(self, name: str) -> Host:
        """Return what is known of a host."""
        if name not in self._hosts:
            self._hosts[name] = Host(name, self._permits, self._policy, self._clock)
        return self._hosts[name]

    def raise_rank(self, ticket: Ticket, rank: Rank) -> None:
        """Let a turn go earlier, also while it waits."""
        self._permits.raise_rank(ticket, rank)

    async def run(
        self, what: str, host: str, ticket: Ticket, once: Callable[[], Awaitable[_T]], *, others: bool = False
    ) -> _T:
        """Make a request of `host`, and again while that can help; return what `once` returns.

        Where there are `others` to be asked the same, such as the registry behind a mirror, nothing is waited for, and
        a host that could not be reached is not asked again for a while. Raises the last HangarError: RateLimited where
        the host asks for a longer wait than we make.
        """
        state = self.host(host)
        failures = 0
        if others:
            state.check()
        while True:
            async with state.hold(ticket) as asked:
                try:
                    found = await once()
                except HangarError as error:
                    failure = error
                else:
                    state.answered(asked)
                    return found
            if others and failure.uses_try:
                state.missed(failure)
                raise failure
            failures = await self._after(failure, what, state, asked, failures)

    async def _after(self, failure: HangarError, what: str, host: Host, asked: int, failures: int) -> int:
        """Wait as long as makes sense after a failure, and return how many tries are used up; raises it otherwise."""
        if not failure.transient:
            host.answered(asked)
            raise failure
        closed = host.failed(failure, asked)
        if closed:
            self._observe(HostClosed(host.name, str(failure), closed))
        if is_quota(failure):
            return failures
        failures = failures + 1 if failure.uses_try else 0
        if failures > min(self._policy.retries, failure.tries - 1):
            raise failure
        wait = backoff(self._policy, max(failures, 1))
        self._observe(Retrying(what, str(failure), wait, failures))
        await self._clock.sleep(wait)
        return failures
