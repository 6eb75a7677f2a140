"""The workers of a cluster come and go, and the run says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hangar_async.engine.cluster.messages import Reply, Taken
from hangar_async.engine.cluster.workers import Workers
from hangar_async.errors import NetworkError
from tests.fakes.clock import FakeClock


class Site:
    """Workers of a cluster, with what is told and who is retired."""

    def __init__(self, **keywords: Any) -> None:
        self.time = FakeClock()
        self.notices: list[str] = []
        self.retired: list[str] = []
        values: dict[str, Any] = {"requests": 20, "limit_rate": None, "max_wait": 60.0, **keywords}

        async def retire(names: Sequence[str]) -> None:
            self.retired += names

        self.workers = Workers("tcp://c:1", notice=self.notices.append, retire=retire, clock=self.time.clock, **values)

    async def hear(self, **refusals: str) -> None:
        replies = {name: Reply(Taken(), 64, refusal) for name, refusal in refusals.items()}
        await self.workers.heard(replies)


async def test_a_run_without_workers_waits_for_some_but_not_without_end() -> None:
    site = Site()
    await site.hear(a="")
    await site.hear()
    site.time.now += 60.0
    await site.hear()
    await site.hear(b="")
    assert site.notices == [
        "the cluster at tcp://c:1 has no worker: waits for one for 60 s at most",
        "the cluster at tcp://c:1 has workers again",
    ]
    await site.hear()
    site.time.now += 60.5
    with pytest.raises(NetworkError, match="has had no worker for 60 s") as error:
        await site.hear()
    assert "what was copied stays" in error.value.advice


async def test_a_refused_worker_is_told_and_retired() -> None:
    site = Site()
    await site.hear(a="", b="it has release 0.1.0, and the coordinator 0.2.0")
    assert site.notices == ["worker b is refused: it has release 0.1.0, and the coordinator 0.2.0"]
    assert site.retired == ["b"]


async def test_workers_share_the_rate() -> None:
    site = Site(limit_rate=1000)
    assert site.workers.rate == 1000
    await site.hear(a="", b="", c="", d="")
    assert site.workers.rate == 250
    await site.hear()
    assert site.workers.rate == 1000
    assert Site().workers.rate is None


async def test_a_worker_of_few_tasks_is_told_once() -> None:
    site = Site(requests=65)
    await site.hear(a="")
    await site.hear(a="")
    assert site.notices == [
        "worker a takes 64 tasks at once, fewer than the 65 requests: start it with a higher --nthreads"
    ]
