"""What is tried again, how often, and after which wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from hangar_async.config import RetryPolicy
from hangar_async.engine.events import Observer, Retrying
from hangar_async.errors import HangarError, RegistryError

#: A registry that asks for a longer wait is not obeyed, but asked again after this many seconds.
LONGEST_PAUSE = 900.0


def retrying(
    policy: RetryPolicy,
    what: str,
    observe: Observer,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncRetrying:
    """Make the loop that tries `what` again while its error can recover.

        async for attempt in retrying(policy, "manifest of nginx:1.22", observe):
            with attempt:
                ...

    The last error is raised as it is. Waits double from `policy.first` to `policy.longest` seconds, each shortened by
    up to a half at random; a wait that the registry asks for is kept to, up to LONGEST_PAUSE.
    """

    def wait(state: RetryCallState) -> float:
        error = _error(state)
        if isinstance(error, RegistryError) and error.retry_after is not None:
            return min(max(error.retry_after, 0.0), LONGEST_PAUSE)
        span = min(policy.first * 2.0 ** (state.attempt_number - 1), policy.longest)
        return span * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    def stop(state: RetryCallState) -> bool:
        error = _error(state)
        tries = error.tries if isinstance(error, HangarError) else 1
        return state.attempt_number >= min(policy.attempts, tries)

    def tell(state: RetryCallState) -> None:
        pause = state.next_action.sleep if state.next_action else 0.0
        observe(Retrying(what, str(_error(state)), pause, state.attempt_number))

    return AsyncRetrying(
        sleep=sleep,
        stop=stop,
        wait=wait,
        retry=retry_if_exception(lambda error: isinstance(error, HangarError) and error.transient),
        before_sleep=tell,
        reraise=True,
    )


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
