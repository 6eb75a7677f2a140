import pytest

from hangar_async.config import RetryPolicy
from hangar_async.engine.events import Event, Retrying
from hangar_async.engine.retry import LONGEST_PAUSE, retrying
from hangar_async.errors import DigestMismatch, HangarError, NetworkError, NotFound, RegistryError

POLICY = RetryPolicy(attempts=4, first=1.0, longest=3.0)


class Trial:
    """Runs failing work without waiting, and keeps the waits and events."""

    def __init__(self, *errors: HangarError) -> None:
        self.errors = list(errors)
        self.waits: list[float] = []
        self.events: list[Event] = []
        self.tries = 0

    async def run(self) -> None:
        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        async for attempt in retrying(POLICY, "blob", self.events.append, sleep):
            with attempt:
                self.tries += 1
                if self.errors:
                    raise self.errors.pop(0)


async def test_what_recovers_is_tried_again() -> None:
    trial = Trial(NetworkError("cut", host="h"), RegistryError("busy", host="h", status=503))
    await trial.run()
    assert trial.tries == 3
    assert 0.5 <= trial.waits[0] <= 1.0
    assert 1.0 <= trial.waits[1] <= 2.0
    assert trial.events == [
        Retrying("blob", "cut", trial.waits[0], 1),
        Retrying("blob", "busy", trial.waits[1], 2),
    ]


async def test_it_ends_with_the_last_error() -> None:
    trial = Trial(*(NetworkError(f"cut {number}", host="h") for number in range(9)))
    with pytest.raises(NetworkError, match="cut 3"):
        await trial.run()
    assert trial.tries == POLICY.attempts
    assert max(trial.waits) <= POLICY.longest


async def test_what_cannot_recover_is_not_tried_again() -> None:
    trial = Trial(NotFound("gone", host="h", status=404))
    with pytest.raises(NotFound):
        await trial.run()
    assert trial.tries == 1


async def test_a_wrong_digest_is_tried_once_more() -> None:
    trial = Trial(*(DigestMismatch("wrong") for _ in range(9)))
    with pytest.raises(DigestMismatch):
        await trial.run()
    assert trial.tries == 2


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (0.0, 0.0), (-5.0, 0.0), (21600.0, LONGEST_PAUSE)])
async def test_the_registry_says_how_long_to_wait(asked: float, waited: float) -> None:
    trial = Trial(RegistryError("slow down", host="h", status=429, retry_after=asked))
    await trial.run()
    assert trial.waits == [waited]


async def test_a_fault_of_the_program_is_not_tried_again() -> None:
    tries = 0
    with pytest.raises(KeyError):
        async for attempt in retrying(POLICY, "blob", lambda _: None):
            with attempt:
                tries += 1
                raise KeyError("x")
    assert tries == 1
