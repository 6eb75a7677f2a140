"""The workers of a cluster as a coordinator knows them: their number, refusals, and waits for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from hangar_async.engine.cluster.messages import Reply
from hangar_async.engine.limits.hosts import Clock
from hangar_async.errors import NetworkError


class Workers:
    """The workers that answer; `retire` removes some from the cluster, by their addresses.

    A run whose workers are all gone waits for others, for at most `max_wait` seconds. `requests` are those at the same
    time of one worker, and `rate` is the share of one of the bytes a second of all, None for no limit.
    """

    def __init__(
        self,
        address: str,
        requests: int,
        limit_rate: int | None,
        max_wait: float,
        notice: Callable[[str], None],
        retire: Callable[[Sequence[str]], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self.address = address
        self._requests = requests
        self._limit_rate = limit_rate
        self._max_wait = max_wait
        self._notice = notice
        self._retire = retire
        self._clock = clock
        self._count = 1
        self._gone_since: float | None = None
        self._known: set[str] = set()

    @property
    def rate(self) -> int | None:
        """The bytes a second of each worker."""
        return None if self._limit_rate is None else max(1, self._limit_rate // self._count)

    async def heard(self, replies: Mapping[str, Reply]) -> None:
        """Note which workers answer; raises NetworkError where there is none for too long."""
        refused = {name: reply.refusal for name, reply in replies.items() if reply.refusal}
        for name, refusal in refused.items():
            self._notice(f"worker {name} is refused: {refusal}")
        if refused:
            await self._retire(list(refused))
        able = {name: reply for name, reply in replies.items() if name not in refused}
        for name in sorted(able.keys() - self._known):
            if 0 < able[name].threads < self._requests:
                tasks = f"{able[name].threads} tasks at once, fewer than the {self._requests} requests"
                self._notice(f"worker {name} takes {tasks}: start it with a higher --nthreads")
        self._known |= able.keys()
        self._count = max(1, len(able))
        self._check_gone(able)

    def _check_gone(self, able: Mapping[str, Reply]) -> None:
        now = self._clock.monotonic()
        if able:
            if self._gone_since is not None:
                self._notice(f"the cluster at {self.address} has workers again")
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = now
            self._notice(
                f"the cluster at {self.address} has no worker: waits for one for {self._max_wait:.0f} s at most"
            )
        elif now - self._gone_since > self._max_wait:
            raise NetworkError(
                f"the cluster at {self.address} has had no worker for {now - self._gone_since:.0f} s",
                host=self.address,
                advice="start workers, then run the same command again: what was copied stays",
            )

    def lost(self) -> NetworkError:
        """Return the error of a scheduler that is gone."""
        return NetworkError(
            f"the scheduler at {self.address} is gone",
            host=self.address,
            advice="start it again with its workers, then run the same command again: what was copied stays",
        )
