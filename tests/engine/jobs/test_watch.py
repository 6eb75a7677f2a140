"""Jobs begin at their times, on a clock that only waiting moves on; jobs that choose no tag need no registry."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import pytest

from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.disk import Disk
from hangar_async.engine.events import Event, JobEnded, JobScheduled, JobStarted, Notice, Reloaded
from hangar_async.engine.jobs import watch
from hangar_async.engine.jobs.report import JobReport, JobsReport
from hangar_async.engine.jobs.watch import watch_jobs
from hangar_async.errors import NotFound, StorageError, UsageError
from hangar_async.state.starts import note_start, read_starts
from hangar_async.threads import in_thread
from tests.engine.jobs.rig import fill, options
from tests.fakes.clock import FakeClock, turns_until
from tests.fakes.faults import Status
from tests.fakes.registry import FakeRegistry

MINUTE = 60.0
START = 1_800_000_000.0
JOB = "- {{name: {name}, from: r.io/x, tags: [], to: 'h.io/x', {fields}}}\n"


def empty(directory: Path, jobs: dict[str, str], **keywords: Any) -> MirrorJobsOptions:
    """Options for jobs without images, by their names and fields."""
    path = directory / "mirror.yaml"
    path.write_text("version: 1\njobs:\n" + "".join(JOB.format(name=name, fields=jobs[name]) for name in jobs))
    return MirrorJobsOptions(config=path, **keywords)


@asynccontextmanager
async def watching(
    made: MirrorJobsOptions, clock: FakeClock, seen: Callable[[Event], None], reload: asyncio.Event | None = None
) -> AsyncIterator[asyncio.Task[Any]]:
    """Watch during the block; the end of the block cancels it."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch_jobs(made, seen, clock=clock.clock, reload=reload, share=lambda: 0.0))
        try:
            yield task
        finally:
            task.cancel()


class Log:
    """The events that were seen, and the starts of jobs in minutes of the clock."""

    def __init__(self, clock: FakeClock, lasts: float = 0.0) -> None:
        self.events: list[Event] = []
        self.starts: list[tuple[str, float]] = []
        self._clock = clock
        self._lasts = lasts

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, JobStarted):
            self.starts.append((event.job, round((self._clock.now - 1000) / MINUTE, 2)))
            self._clock.now += self._lasts

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def starts_of(made: MirrorJobsOptions, count: int, lasts: float = 0.0) -> Log:
    """Watch until so many jobs have begun."""
    log = Log(clock := FakeClock(wall=START), lasts)
    async with watching(made, clock, log):
        await turns_until(lambda: len(log.of(JobEnded)) >= count, 2_000_000)
    return log


async def test_each_job_begins_at_its_time(tmp_path: Path) -> None:
    # The clock begins at 08:00.
    jobs = {"six": "every: 6m", "day": 'cron: "2 8 * * *"', "own": "every: 1d, jitter: 1h", "hand": "index: auto"}
    log = await starts_of(empty(tmp_path, jobs), 5)
    assert log.starts == [("six", 0.0), ("own", 0.0), ("day", 2.0), ("six", 6.0), ("six", 12.0)]
    assert [event.job for event in log.of(JobScheduled)][:3] == ["six", "day", "own"]
    assert {event.status for event in log.of(JobEnded)} == {0}


async def test_a_job_that_takes_too_long_is_never_beside_itself(tmp_path: Path) -> None:
    log = await starts_of(empty(tmp_path, {"slow": "every: 6m"}), 3, lasts=13 * MINUTE)
    assert log.starts == [("slow", 0.0), ("slow", 18.0), ("slow", 36.0)]
    assert [(event.passed_over, (event.start - START) / MINUTE) for event in log.of(JobScheduled)] == [
        (0, 0.0),
        (2, 18.0),
        (2, 36.0),
        (2, 54.0),
    ]


async def test_the_state_knows_the_last_start(tmp_path: Path) -> None:
    made = empty(tmp_path, {"a": "every: 6m", "b": "every: 6m"}, state=tmp_path / "state")
    await in_thread(note_start, tmp_path / "state", Disk(), "a", START - 4 * MINUTE)
    log = await starts_of(made, 2)
    assert log.starts == [("b", 0.0), ("a", 2.0)]
    known = await in_thread(read_starts, tmp_path / "state", Disk())
    assert known == {"a": START + 2 * MINUTE, "b": START}


async def test_a_clock_that_was_put_back_does_not_stop_a_job(tmp_path: Path) -> None:
    log = Log(clock := FakeClock(wall=START))
    async with watching(empty(tmp_path, {"a": "every: 1h"}), clock, log):
        await turns_until(lambda: len(log.of(JobEnded)) == 1)
        clock.now -= 1000 * MINUTE
        await turns_until(lambda: len(log.of(JobEnded)) == 2)
    assert [minutes for _, minutes in log.starts] == [0.0, pytest.approx(-937, abs=3)]


async def test_a_new_file_is_taken_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    made = empty(tmp_path, {"a": "every: 1d", "gone": "every: 1w"})
    log, reload = Log(clock := FakeClock(wall=START)), asyncio.Event()
    async with watching(made, clock, log, reload):
        await turns_until(lambda: len(log.of(JobEnded)) == 2)
        for text, message in (
            ("version: 2", "`version` is 2"),
            ("version: 1\njobs: []", "the file has no job"),
            ("version: 1\njobs: [{name: a, from: r.io/x, to: h.io/x}]", "no job has a time at which it begins"),
            (
                "version: 1\njobs: [{name: a, from: r.io/x, to: h.io/x, every: 1d, prune: {}}]",
                "job a has `prune`, which needs a state",
            ),
        ):
            made.config.write_text(text)
            reload.set()
            await turns_until(lambda: bool(log.of(Notice)))
            [notice] = log.of(Notice)
            assert message in notice.text
            assert notice.text.endswith("; the jobs of the last reading stay in use")
            log.events.clear()
        empty(tmp_path, {"a": "every: 2m", "new": "every: 1d"})
        reload.set()
        await turns_until(lambda: bool(log.of(Reloaded)))
        # From its last start, which may be long ago: it is due.
        due = {event.job: event.start - START for event in log.of(JobScheduled)}
        assert (due["a"], list(due)) == (2 * MINUTE, ["a", "new"])
        await turns_until(lambda: {event.job for event in log.of(JobEnded)} == {"a", "new"})


async def test_a_file_that_cannot_be_looked_at_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = empty(tmp_path, {"a": "every: 1d"})
    log, reload = Log(clock := FakeClock(wall=START)), asyncio.Event()

    def fail(*_: object) -> NoReturn:
        raise StorageError.of(OSError(errno.EIO, "input/output error"), made.config, "look at")

    async with watching(made, clock, log, reload):
        await turns_until(lambda: len(log.of(JobEnded)) == 1)
        with monkeypatch.context() as patch:
            patch.setattr(watch, "read", fail)
            reload.set()
            await turns_until(lambda: bool(log.of(Notice)))
        [notice] = log.of(Notice)
        assert notice.text.endswith("; the jobs of the last reading stay in use")
        reload.set()
        await turns_until(lambda: bool(log.of(Reloaded)))


async def test_numbers_and_probes_tell_what_the_jobs_do(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    with socket.create_server(("127.0.0.1", 0)) as one:
        address = f"127.0.0.1:{one.getsockname()[1]}"
    made = empty(tmp_path, {"a": "every: 1w"}, metrics=address)
    log, reload = Log(clock := FakeClock(wall=START)), asyncio.Event()
    async with watching(made, clock, log, reload), aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, str]:
            answer = await session.get(f"http://{address}{path}")
            return answer.status, await answer.text()

        await turns_until(lambda: bool(log.of(JobEnded)))
        assert 'hangar_mirror_runs_total{job="a",status="0"} 1.0' in (await get("/metrics"))[1]
        assert await get("/readyz") == (200, "ok\n")
        made.config.write_text("version: 1")
        reload.set()
        await turns_until(lambda: bool(log.of(Notice)))
        assert "hangar_mirror_file_right 0.0" in (await get("/metrics"))[1]
        assert await get("/readyz") == (503, "the job file is wrong; the jobs of the last reading stay in use\n")
        assert (await get("/healthz"))[0] == 200


async def test_numbers_need_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UsageError, match=r"pip install 'hangar_async\[metrics\]'"):
        await watch_jobs(empty(tmp_path, {"a": "every: 1w"}, metrics="1"))


async def test_a_job_that_breaks_off_begins_again_soon(tmp_path: Path) -> None:
    made = empty(tmp_path, {"a": "every: 1d", "b": "every: 9m"}, failed=tmp_path / "failed.txt")
    made.config.write_text(made.config.read_text().replace("from: r.io/x, tags: []", "list: other.txt", 1))
    log = await starts_of(made, 4)
    assert log.starts == [("a", 0.0), ("b", 0.0), ("b", 9.0), ("a", 10.0)]
    assert [(event.job, event.status) for event in log.of(JobEnded)] == [("a", 2), ("b", 0), ("b", 0), ("a", 2)]
    assert "other.txt" in log.of(JobEnded)[0].error


@pytest.mark.parametrize(
    ("fields", "message"),
    [("index: auto", r"mirror.yaml: no job has a time at which it begins: write `every` or `cron`"), ("x: 1", "`x`")],
)
async def test_a_file_that_cannot_be_watched(tmp_path: Path, fields: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        await watch_jobs(empty(tmp_path, {"a": fields}))


@pytest.mark.parametrize(("runs", "failed"), [(1, ["one"]), (2, ["one", "two"]), (3, ["two"])])
async def test_the_list_of_failed_images_is_that_of_the_last_run_of_each_job(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, runs: int, failed: list[str]
) -> None:
    fill(fake_registry, "team/app", "one two")
    line = "- {{name: {0}, every: {1}m, from: SOURCE/team/app, tags: [{0}], to: TARGET/{0}, referrers: none}}\n"
    jobs = "".join(line.format(tag, minutes) for tag, minutes in (("one", 1), ("two", 3)))
    for tag in ("one", "two"):
        fake_registry.fail(f"/manifests/{tag}", Status(404), times=2)
    made = options(tmp_path, jobs, fake_registry, pushable_registry, failed=tmp_path / "failed.txt")
    log = Log(clock := FakeClock(wall=START))
    async with asyncio.TaskGroup() as group:

        def seen(event: Event) -> None:
            log(event)
            if len(log.of(JobEnded)) == runs:
                task.cancel()

        task = group.create_task(watch_jobs(made, seen, clock=clock.clock, share=lambda: 0.0))
    lines = (await in_thread((tmp_path / "failed.txt").read_text)).splitlines()
    assert [line.rpartition(" ")[2] for line in lines if not line.startswith("#")] == failed
    assert [event.status for event in log.of(JobEnded)] == [3, 3, 0][:runs]


@pytest.mark.parametrize("moment", [JobScheduled, JobStarted, JobEnded])
async def test_a_cancellation_at_any_moment_leaves_no_task(tmp_path: Path, moment: type[Event]) -> None:
    made = empty(tmp_path, {"a": "every: 6m"}, state=tmp_path / "state")
    before = asyncio.all_tasks()
    reached = asyncio.Event()

    def seen(event: Event) -> None:
        if isinstance(event, moment):
            reached.set()

    task = asyncio.create_task(watch_jobs(made, seen, clock=FakeClock().clock))
    await reached.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
    assert not (tmp_path / "state.lock").exists()


async def test_memory_is_flat_over_1_000_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round itself is replaced, since it takes ten times as long as the test may."""

    async def rounded(made: MirrorJobsOptions, *_: object, **__: object) -> JobsReport:
        return JobsReport((JobReport(made.only[0], error=NotFound("gone", host="h.io", status=404)),), 1.0)

    monkeypatch.setattr(watch, "mirror_file", rounded)
    made = empty(tmp_path, {"a": "every: 1m", "b": "every: 1m"})
    clock, ended, blocks, done = FakeClock(wall=START), 0, {}, asyncio.Event()

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    def seen(event: Event) -> None:
        nonlocal ended
        if isinstance(event, JobEnded):
            ended += 1
            if ended in (200, 1000):
                gc.collect()
                blocks[ended] = sys.getallocatedblocks()
            if ended == 1000:
                done.set()

    monkeypatch.setattr(clock, "sleep", sleep)
    async with watching(made, clock, seen):
        await done.wait()
    # One object a round would be 800.
    assert blocks[1000] - blocks[200] < 400
