"""Numbers of jobs have few labels, and no secrets in them."""

from __future__ import annotations

import aiohttp
import pytest

from hangar_async.server.job_metrics import JobMetrics


async def lines(metrics: JobMetrics) -> dict[str, float]:
    """The numbers by their names with labels, but for the times of their making."""
    async with metrics.serving("127.0.0.1", 0, str) as address, aiohttp.ClientSession() as session:
        answer = await session.get(f"http://{address}/metrics")
        text = await answer.text()
    found = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix("hangar_mirror_"): float(number) for name, _, number in found if "_created" not in name}


async def test_numbers_of_jobs_and_hosts() -> None:
    pytest.importorskip("prometheus_client")
    metrics = JobMetrics(lambda text: text.replace("secret", "${HOST}"))
    metrics.read(right=True)
    metrics.keep(["a", "b"])
    metrics.scheduled("a", 2000.0, 3)
    metrics.started("a", 1000.0)
    metrics.moved("a", 512)
    metrics.moved("a", 512)
    metrics.retried()
    metrics.waited("secret.io", "refused", 30.0)
    metrics.quota("secret.io", 7, 100)
    metrics.count("a", {"done": 2, "failed": 1}, {"sent": 5, "mounted": 0}, {"not found": 1})
    metrics.ended("a", 0, 1500.0, 500.0, "")
    metrics.ended("b", 3, 1600.0, 1.0, "disk")
    assert await lines(metrics) == {
        'images_total{job="a",status="done"}': 2,
        'images_total{job="a",status="failed"}': 1,
        'blobs_total{job="a",kind="sent"}': 5,
        'blobs_total{job="a",kind="mounted"}': 0,
        'bytes_total{job="a"}': 1024,
        'errors_total{job="a",reason="not found"}': 1,
        'errors_total{job="b",reason="disk"}': 1,
        'runs_total{job="a",status="0"}': 1,
        'runs_total{job="b",status="3"}': 1,
        'passed_over_total{job="a"}': 3,
        'wait_seconds_total{host="${HOST}.io",kind="refused"}': 30,
        "retries_total": 1,
        'quota_remaining{host="${HOST}.io"}': 7,
        'quota_limit{host="${HOST}.io"}': 100,
        "file_right": 1,
        'last_start_timestamp_seconds{job="a"}': 1000,
        'last_success_timestamp_seconds{job="a"}': 1500,
        'next_start_timestamp_seconds{job="a"}': 2000,
        'last_run_seconds{job="a"}': 500,
        'last_run_seconds{job="b"}': 1,
    }
    metrics.read(right=False)
    metrics.keep(["b"])
    left = await lines(metrics)
    assert {name for name in left if "timestamp" in name or "last_run" in name} == {'last_run_seconds{job="b"}'}
    assert left["file_right"] == 0
