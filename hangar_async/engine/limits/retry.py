"""The retrier of a run: when each request is made, and which failures are repeated."""

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
    """Runs the requests of all jobs: at most `jobs` at once, fewer at a host that is overloaded.

    A request that failed and may succeed is repeated, `policy.retries` times in a row at most, without a permit during
    the wait. Neither a wait for a quota nor a try that gained bytes counts as one of these.
    """

    def __init__(self, jobs: int, policy: RetryPolicy, observe: Observer, clock: Clock | None = None) -> None:
        self._queue = RequestQueue(jobs)
        self._policy = policy
        self._observe = observe
        self._clock = clock or Clock()
        self._hosts: dict[str, Host] = {}

    def host(self, name: str) -> Host:
        """Return the state of a host."""
        if name not in self._hosts:
            self._hosts[name] = Host(name, self._queue, self._policy, self._clock)
        return self._hosts[name]

    def raise_rank(self, ticket: Ticket, rank: Rank) -> None:
        """Let a ticket go earlier, also while it waits."""
        self._queue.raise_rank(ticket, rank)

    async def run(
        self,
        subject: str,
        host_name: str,
        ticket: Ticket,
        request: Callable[[], Awaitable[_T]],
        *,
        alternatives: bool = False,
    ) -> _T:
        """Make a request of a host, and repeat it while that can help; return its result.

        `subject` names the request in events. With `alternatives`, as for a mirror, nothing is waited for, and a host
        that could not be reached is passed over for a while. Raises the last HangarError: RateLimited where the host
        asks for a longer wait than is allowed.
        """
        host = self.host(host_name)
        failures = 0
        if alternatives:
            host.check_skipped()
        while True:
            async with host.hold(ticket) as cuts:
                try:
                    result = await request()
                except HangarError as error:
                    failure = error
                else:
                    host.answered(cuts)
                    return result
            if alternatives and failure.uses_try:
                host.skip(failure)
                raise failure
            failures = await self._after(failure, subject, host, cuts, failures)

    async def _after(self, failure: HangarError, subject: str, host: Host, cuts: int, failures: int) -> int:
        """Wait after a failure and return how many tries are used up, or raise the failure."""
        if not failure.transient:
            host.answered(cuts)
            raise failure
        pause = host.failed(failure, cuts)
        if pause:
            self._observe(HostClosed(host.name, str(failure), pause))
        if is_quota(failure):
            return failures
        failures = failures + 1 if failure.uses_try else 0
        if failures > min(self._policy.retries, failure.tries - 1):
            raise failure
        wait = backoff(self._policy, max(failures, 1))
        self._observe(Retrying(subject, str(failure), wait, failures))
        await self._clock.sleep(wait)
        return failures
