"""The probes beside the numbers."""

from __future__ import annotations

import sys

import aiohttp
import pytest

from hangar_async.errors import UsageError
from hangar_async.server.numbers import new_registry, serving_numbers


async def test_probes_tell_whether_it_answers_and_whether_it_can_work() -> None:
    pytest.importorskip("prometheus_client")
    problem = ""
    async with (
        serving_numbers(new_registry(), "127.0.0.1", 0, problem=lambda: problem) as address,
        aiohttp.ClientSession() as session,
    ):

        async def get(path: str) -> tuple[int, str]:
            answer = await session.get(f"http://{address}{path}")
            return answer.status, await answer.text()

        assert [await get(path) for path in ("/healthz", "/readyz")] == [(200, "ok\n")] * 2
        assert (await get("/metrics"))[0] == 200
        problem = "the file is wrong"
        assert [await get(path) for path in ("/healthz", "/readyz")] == [(200, "ok\n"), (503, "the file is wrong\n")]


async def test_a_server_with_an_address_of_its_own_has_no_probes_here() -> None:
    pytest.importorskip("prometheus_client")
    async with serving_numbers(new_registry(), "127.0.0.1", 0) as address, aiohttp.ClientSession() as session:
        assert (await session.get(f"http://{address}/healthz")).status == 404


def test_without_its_package_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UsageError, match="pip install 'hangar_async\\[metrics\\]'"):
        new_registry()
