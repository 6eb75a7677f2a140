"""Hosts: how many requests each registry takes, as its answers have shown; and the clock of all waits."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from hangar_async.config.registries import RetryPolicy
from hangar_async.effort import Meters
from hangar_async.engine.events import HostClosed, HostReached, HostUnreachable, Observer
from hangar_async.engine.limits.circuit import Circuit
from hangar_async.engine.limits.place import Place
from hangar_async.engine.limits.queue import HostQueue, RequestQueue, Ticket
from hangar_async.errors import ContentError, HangarError, NetworkError, RateLimited, RegistryError, SourceError, copied


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that tests can replace: seconds since some moment, seconds since 1970, and a sleep.

    The moment may lie in the future, and the time of day may be wrong: it is only shown.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


#: Statuses that say that there are too many requests, or that the server is overloaded.
_OVERLOADED = frozenset({429, 502, 503, 504})
#: The requests at once of a host that has answered none yet.
_FIRST_LIMIT = 12
#: A pause counts at least this much for the sum of all pauses, in seconds, so that a host cannot refuse without end.
_SHORTEST_PAUSE = 1.0
#: The seconds for which a mirror that does not answer is passed over.
_SKIP_SECONDS = 60.0


class Host:
    """One host: at most `limit` requests at once, and none while it is closed.

    The limit begins at 12, and grows by one with each response that begins, since a blob may take long, and with each
    request that is answered, up to the number of permits or that of its settings. It is halved when the host is
    overloaded, once for all requests that were under way then, and grows from then on by about one with each round of
    requests that are answered. Requests have numbers, which grow with the time of their begin.
    """

    def __init__(self, name: str, queue: RequestQueue, policy: RetryPolicy, observe: Observer, clock: Clock) -> None:
        self.name = name
        self._observe = observe
        self._circuit = Circuit(policy, clock.monotonic, lambda: queue.begun)
        self._queue, self._most = queue, policy.most_requests(name, queue.count)
        self._policy = policy
        self._clock = clock
        self.queue = queue.host_queue()
        self.queue.limit = min(self._most, _FIRST_LIMIT)
        self._opens_at = -math.inf
        #: The last request that had begun when the limit was cut. Requests up to it say nothing about the time after.
        self._last_before_cut = 0
        self._refusals = 0
        self._waited = 0.0
        self._given_up: HangarError | None = None
        self._closed_by: HangarError | None = None
        self._skipped: tuple[float, HangarError] | None = None

    @property
    def limit(self) -> int:
        """The largest number of requests at the same time."""
        return max(1, int(self.queue.limit))

    @property
    def is_open(self) -> bool:
        """True when it takes requests, or a probe."""
        return self._given_up is None and self._clock.monotonic() >= self._opens_at and self._circuit.allows

    @property
    def is_away(self) -> bool:
        """True while it gives no answer."""
        return not self._circuit.is_closed

    @property
    def takes_now(self) -> bool:
        """True when it takes requests now, and is not passed over."""
        skipped_until = -math.inf if self._skipped is None else self._skipped[0]
        return self.is_open and not self.is_away and self._clock.monotonic() >= skipped_until

    def begin(self, number: int) -> None:
        """Note that a request begins; it must be open."""
        self._circuit.begin(number)

    def end(self, number: int) -> None:
        """Note the end of a request, whatever it was."""
        self._circuit.end(number)

    async def check_open(self) -> None:
        """Raise the error for which this host is closed or passed over."""
        if self._skipped is not None and self._clock.monotonic() < self._skipped[0]:
            raise copied(self._skipped[1])
        if (self.is_away or not self.is_open) and (error := self._given_up or self._closed_by) is not None:
            raise copied(error)

    def skip(self, error: HangarError) -> None:
        """Note the failure of a request that another host is asked now."""
        if _is_overload(error):
            self._skipped = self._clock.monotonic() + _SKIP_SECONDS, error

    def reached(self, status: int) -> None:
        """Note that a response begins."""
        if self._circuit.reached():
            self._observe(HostReached(self.name))
        if status < 400 and not self._last_before_cut:
            self._grow(1)

    def _grow(self, count: float) -> None:
        if self.queue.limit < self._most:
            self.queue.limit = min(self._most, self.queue.limit + count)
            self._queue.grant()

    def answered(self, number: int) -> None:
        """Note that a request was answered."""
        if self._circuit.answered(number):
            self._observe(HostReached(self.name))
        if number <= self._last_before_cut:
            return
        self._refusals = 0
        self._grow(1 / self.queue.limit if self._last_before_cut else 1)

    def failed(self, error: NetworkError | RegistryError, number: int, active: int) -> None:
        """Note that a request has failed while `active` ones were under way.

        Raises RateLimited where the host asks for a longer pause than is allowed, and the NetworkError for which it is
        given up.
        """
        if isinstance(error, NetworkError) and error.missing:
            self._unanswered(error, number)
        elif self._circuit.answered(number):
            self._observe(HostReached(self.name))
        if _is_overload(error) and number > self._last_before_cut:
            self.queue.limit = max(1.0, min(self.queue.limit, active) / 2)
            self._last_before_cut = self._queue.begun
            if is_quota(error):
                self._refusals += 1
        if isinstance(error, RegistryError) and is_quota(error) and (pause := self._close(error)):
            self._observe(HostClosed(self.name, str(error), pause))

    def _unanswered(self, error: NetworkError, number: int) -> None:
        was_closed = self._circuit.is_closed
        if not self._circuit.failed(number):
            return
        self._closed_by = error
        if self._circuit.exhausted:
            since = f"for {self._circuit.waited:.0f} s" if self._circuit.is_known else "in this run"
            self._given_up = NetworkError(
                f"{error}; it gave no answer {since}", host=self.name, transient=False, advice=error.advice
            )
            if not was_closed:
                self._observe(HostReached(self.name))
            raise copied(self._given_up)
        if was_closed:
            self._observe(HostUnreachable(self.name, str(error).removeprefix(f"{self.name}: "), self._circuit.longest))

    def _close(self, error: RegistryError) -> float:
        """Return for how many seconds the host is closed by a refusal; 0 where it was closed already for as long."""
        now = self._clock.monotonic()
        pause = max(error.retry_after or 0.0, 0.0)
        if error.retry_after is None or self._refusals > 1:
            # A host that always says "at once" is asked less and less often all the same.
            pause = max(pause, backoff(self._policy, max(self._refusals, 1)))
        more = now + pause - max(self._opens_at, now)
        if more <= 0 < self._opens_at - now:
            return 0.0
        self._waited += max(more, _SHORTEST_PAUSE)
        if pause > self._policy.longest_pause or self._waited > self._policy.max_wait:
            self._given_up = self._rate_limited(pause, error)
            raise copied(self._given_up)
        self._opens_at, self._closed_by = now + pause, error
        return pause

    def _rate_limited(self, pause: float, error: RegistryError) -> RateLimited:
        opens = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(self._clock.wall() + pause))
        return RateLimited(
            f"{error}; it takes no more requests before {opens}",
            host=self.name,
            status=error.status,
            code=error.code,
            retry_after=pause,
            advice="run the same command again then: what was fetched is kept; logging in may give a higher limit",
        )

    @property
    def closed_for(self) -> tuple[float, str] | None:
        """The seconds for which it takes no requests, and the reason; None for one that is not closed."""
        seconds = self._opens_at - self._clock.monotonic()
        return (seconds, str(self._closed_by)) if seconds > 0 and self._given_up is None else None

    def pause(self, seconds: float, error: RegistryError) -> None:
        """Take no requests for some time: the host has refused one of another process."""
        opens_at = self._clock.monotonic() + seconds
        if opens_at > self._opens_at:
            self._opens_at, self._closed_by = opens_at, error

    async def wait_until_open(self) -> None:
        """Wait until it takes requests; raises the error for which it was given up."""
        while not self.is_open:
            if self._given_up is not None:
                raise copied(self._given_up)
            if (pause := max(self._opens_at - self._clock.monotonic(), self._circuit.pause)) > 0:
                await self._clock.sleep(pause)
            else:
                await self._circuit.probe_ended()


@dataclass(frozen=True, slots=True)
class Asked:
    """The host of a request, its kind, which leads to the same others, and the `source` of its bytes, "" for here."""

    host: str
    kind: str = ""
    source: str = ""


class Hosts:
    """The hosts of a run, and the queue for them.

    A failure counts for the host that it is of, also for a storage, a token server, or the source of an upload. Further
    requests of that kind need a place at both.
    """

    def __init__(self, queue: RequestQueue, policy: RetryPolicy, observe: Observer, clock: Clock) -> None:
        self.queue = queue
        self.meters = Meters(clock.monotonic)
        self._make = partial(Host, queue=queue, policy=policy, observe=observe, clock=clock)
        self._hosts: dict[str, Host] = {}
        self._others: dict[Asked, Host] = {}  # the other host that failed last
        self._joined: dict[tuple[Host, ...], HostQueue] = {}

    def host(self, name: str) -> Host:
        """Return the state of a host."""
        if name not in self._hosts:
            self._hosts[name] = self._make(name)
        return self._hosts[name]

    @property
    def closed(self) -> dict[str, tuple[float, str]]:
        """The hosts that take no requests now, with the seconds for which they do not, and the reason."""
        return {name: found for name, host in self._hosts.items() if (found := host.closed_for) is not None}

    def hold(self, asked: Asked, ticket: Ticket, *, wait: bool = True) -> Place:
        """Wait until the hosts of a request are open and a permit is free, and hold it for a block.

        The block gets the number of the request. Raises the error for which a host was given up. Without `wait` it
        raises the one for which a host is closed or passed over.
        """
        return Place(self, asked, ticket, wait)

    def reached(self, name: str, status: int) -> None:
        """Note that a response of a host begins, which ends the pauses of one that gave none."""
        self.host(name).reached(status)

    def answered(self, asked: Asked, number: int) -> None:
        """Note that a request was answered."""
        for host in self.hosts_of(asked):
            host.answered(number)

    def charged(self, asked: Asked, failure: HangarError) -> Host:
        """Return the host that a failure is of, and remember it for requests of this kind where it may recover."""
        error = failure_at_host(failure)
        if error is None or error.host in ("", asked.host):
            return self.host(asked.host)
        other = self.host(error.host)
        if failure.transient and error.host != asked.source:
            self._others[asked] = other
        return other

    def failed(self, asked: Asked, failure: HangarError, number: int) -> None:
        """Note that a request, which is not ended yet, has failed. Raises as `Host.failed`."""
        if isinstance(failure, RateLimited):
            return  # it was not made
        host, error = self.charged(asked, failure), failure_at_host(failure)
        if isinstance(failure, ContentError) or (error is not None and not error.transient):
            host.answered(number)
        elif error is not None:
            host.failed(error, number, max(host.queue.active, self.host(asked.host).queue.active))

    def hosts_of(self, asked: Asked) -> tuple[Host, ...]:
        """Return the hosts at which a request needs a place."""
        named = [self.host(name) for name in (asked.host, asked.source) if name]
        return tuple(dict.fromkeys((*named, *filter(None, [self._others.get(asked)]))))

    def queue_of(self, hosts: tuple[Host, ...]) -> HostQueue:
        """Return the queue for requests to these hosts."""
        if len(hosts) == 1:
            return hosts[0].queue
        if hosts not in self._joined:
            self._joined[hosts] = self.queue.host_queue(*(host.queue for host in hosts))
        return self._joined[hosts]


def failure_at_host(error: HangarError) -> NetworkError | RegistryError | None:
    """Return the failure of a host in an error, at the source of an upload too; None where there is none."""
    if isinstance(error, SourceError):
        return error.failure
    return error if isinstance(error, NetworkError | RegistryError) else None


def is_quota(failure: HangarError) -> bool:
    """Tell whether a registry says that it answers later: waiting for it uses up no try."""
    error = failure_at_host(failure)
    return isinstance(error, RegistryError) and (
        error.status == 429 or (error.status == 503 and error.retry_after is not None)
    )


def is_unconnected(failure: HangarError) -> bool:
    """Tell whether no connection to a host was made."""
    error = failure_at_host(failure)
    return isinstance(error, NetworkError) and error.missing == "connection"


def backoff(policy: RetryPolicy, failures: int) -> float:
    """Return how many seconds to wait after some failures in a row: doubling, shortened by up to a half at random."""
    span = min(policy.first * 2.0 ** min(failures - 1, 60), policy.longest)
    return span * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _is_overload(error: HangarError) -> bool:
    if isinstance(error, RegistryError):
        return error.status in _OVERLOADED and not isinstance(error, RateLimited)
    return isinstance(error, NetworkError) and error.transient and error.uses_try
