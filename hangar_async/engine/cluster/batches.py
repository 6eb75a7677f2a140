"""Tasks that are sent to a scheduler together, and results that come together: each message has its price."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

from distributed import Client, wait

from hangar_async.engine.cluster.messages import Key

#: The seconds for which tasks and results are collected.
_TURN = 0.02


class Batches:
    """Submits tasks `function(run, payload, needed)`, those of a moment together, and gathers results likewise."""

    def __init__(self, client: Client, function: Callable[..., Any], run: str) -> None:
        self._client = client
        self._function = function
        self._run = run
        self._tasks: list[tuple[bytes, Key, Sequence[Any], asyncio.Future[Any]]] = []
        self._ended: list[tuple[Any, asyncio.Future[bytes]]] = []
        self._gathers: set[asyncio.Task[None]] = set()

    async def submit(self, payload: bytes, key: Key, needed: Sequence[Any] = ()) -> Any:
        """Submit a task that gets the results of those that it needs; return it."""
        submitted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self._tasks:
            asyncio.get_running_loop().call_later(_TURN, self._send)
        self._tasks.append((payload, key, list(needed), submitted))
        return await submitted

    def _send(self) -> None:
        tasks, self._tasks = self._tasks, []
        payloads, keys, needed, submitted = zip(*tasks, strict=True)
        try:
            futures = self._client.map(
                self._function, [self._run] * len(tasks), payloads, needed, key=list(keys), pure=False
            )
        except Exception as error:
            for one in submitted:
                if not one.done():
                    one.set_exception(error)
            return
        for one, future in zip(submitted, futures, strict=True):
            if not one.done():
                one.set_result(future)

    async def result(self, task: Any) -> Any:
        """Wait for a task, and return its result; raises its exception, and CancelledError of a lost scheduler."""
        await wait(task)
        if task.status != "finished":
            return await task
        found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self._ended:
            asyncio.get_running_loop().call_later(_TURN, self._begin_gather)
        self._ended.append((task, found))
        return await found

    def _begin_gather(self) -> None:
        ended, self._ended = self._ended, []
        gather = asyncio.get_running_loop().create_task(self._gather(ended))
        self._gathers.add(gather)
        gather.add_done_callback(self._gathers.discard)

    async def _gather(self, ended: Sequence[tuple[Any, asyncio.Future[Any]]]) -> None:
        try:
            results: Sequence[Any] = await self._client.gather([task for task, _ in ended])
        except (Exception, CancelledError) as error:
            for _, found in ended:
                if not found.done():
                    found.set_exception(error)
            return
        for (_, found), result in zip(ended, results, strict=True):
            if not found.done():
                found.set_result(result)
