"""Circuits: pauses for a host that gives no answer, and the probes that end them."""

import asyncio
from collections.abc import Callable

from hangar_async.config.registries import RetryPolicy

#: A circuit opens after so many requests in a row without an answer.
_FAILURES = 3
#: The probes of a host that never gave an answer.
_PROBES_OF_UNKNOWN = 2


class Circuit:
    """The state of one host: closed while it answers; open, a pause and a probe take turns.

    It opens after three requests in a row without an answer. Requests have numbers, as of `begun`, the last one that
    has begun: the failure of one that began before the circuit opened or closed says nothing about the time after.
    """

    def __init__(self, policy: RetryPolicy, clock: Callable[[], float], begun: Callable[[], int]) -> None:
        #: True when no more pause is allowed.
        self.exhausted = False
        #: Seconds of all times in which it was open.
        self.waited = 0.0
        #: True when the host ever answered.
        self.is_known = False
        self._policy = policy
        self._clock = clock
        self._begun = begun
        self._failures = 0
        self._pauses = 0
        self._paused_at = self._opens_at = 0.0
        self._last_before_change = 0
        self._probe: int | None = None
        self._probe_ended = asyncio.Event()

    @property
    def is_closed(self) -> bool:
        """True while the host answers."""
        return self._pauses == 0

    @property
    def pause(self) -> float:
        """The seconds that are left of the pause."""
        return 0.0 if self.is_closed else max(0.0, self._opens_at - self._clock())

    @property
    def allows(self) -> bool:
        """True when a request may begin: any, or the probe."""
        return self.is_closed or (self._probe is None and not self.pause)

    @property
    def longest(self) -> float:
        """The seconds for which the host may be waited for, beginning with the first pause."""
        pauses = self._policy.outage_pauses
        unknown = sum(pauses[min(number, len(pauses) - 1)] for number in range(_PROBES_OF_UNKNOWN))
        return max(0.0, min(self._policy.max_wait - self.waited, self._policy.max_wait if self.is_known else unknown))

    def begin(self, number: int) -> None:
        """Note that a request begins, which is the probe where the circuit is open."""
        if not self.is_closed:
            self._probe = number
            self._probe_ended.clear()

    def end(self, number: int) -> None:
        """Note the end of a request, after `answered` or `failed`; it may have been cancelled."""
        if self._probe == number:
            self._probe = None
            self._probe_ended.set()

    async def probe_ended(self) -> None:
        """Wait for the end of the probe."""
        await self._probe_ended.wait()

    def reached(self) -> bool:
        """Note that an answer begins; returns True when it closes the circuit.

        An answer during a pause is one to an earlier request, over an earlier connection: the probe shows more.
        """
        self.is_known = True
        self._failures = 0
        if self._probe is None:
            return False
        self._close()
        return True

    def answered(self, number: int) -> bool:
        """Note that a request was answered; returns True when it closes the circuit."""
        return (self.is_closed or number == self._probe) and self.reached()

    def failed(self, number: int) -> bool:
        """Note a request without an answer; returns True when a pause begins with it, or would."""
        if number <= self._last_before_change or not (self.is_closed or number == self._probe):
            return False
        if self._policy.max_wait < self._policy.outage_pauses[0]:
            return False
        self._failures += 1
        if self.is_closed and self._failures < _FAILURES:
            return False
        self._begin_pause()
        return True

    def _begin_pause(self) -> None:
        now, pauses = self._clock(), self._policy.outage_pauses
        self.waited += 0.0 if self.is_closed else now - self._paused_at
        pause = pauses[min(self._pauses, len(pauses) - 1)]
        is_unknown = not self.is_known and self._pauses >= _PROBES_OF_UNKNOWN
        self.exhausted = is_unknown or self.waited + pause > self._policy.max_wait
        self._pauses += 1
        self._paused_at, self._opens_at = now, now + pause
        self._last_before_change = self._begun()

    def _close(self) -> None:
        self.waited += self._clock() - self._paused_at
        self._pauses, self._probe = 0, None
        self._last_before_change = self._begun()
        self._probe_ended.set()
