from __future__ import annotations

import sys

import aiohttp
import pytest

from hangar_async.errors import UsageError
from hangar_async.server.app import serving
from hangar_async.server.metrics import Metrics
from hangar_async.testing.memory import MemoryContent


async def test_requests_are_counted_by_kind() -> None:
    pytest.importorskip("prometheus_client")
    metrics = Metrics()
    async with (
        serving(MemoryContent(), answered=metrics.answered) as address,
        metrics.serving("127.0.0.1", 0) as numbers,
        aiohttp.ClientSession() as session,
    ):
        for path in ("/v2/", "/v2/a/manifests/1", "/v2/b/manifests/2", "/v2/a/blobs/x", "/else"):
            await (await session.get(f"http://{address}{path}")).read()
        await (await session.post(f"http://{address}/v2/")).read()
        answer = await session.get(f"http://{numbers}/metrics")
        lines = (await answer.text()).splitlines()
    assert 'hangar_requests_total{kind="manifests",method="GET",status="404"} 2.0' in lines
    assert 'hangar_requests_total{kind="blobs",method="GET",status="400"} 1.0' in lines
    assert any(line.startswith('hangar_requests_total{kind="other",method="other",status="4') for line in lines)
    assert 'hangar_request_seconds_count{kind="manifests"} 2.0' in lines
    assert any(line.startswith('hangar_sent_bytes_total{kind="other"}') for line in lines)


def test_without_its_package_the_flag_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UsageError, match="pip install 'hangar_async\\[metrics\\]'"):
        Metrics()
