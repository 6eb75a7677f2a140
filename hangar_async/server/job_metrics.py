"""Numbers about standing jobs for Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress

from hangar_async.server.numbers import new_registry, serving_numbers


class JobMetrics:
    """Counters and gauges of jobs and of the hosts that they ask.

    Labels are names of jobs, hosts, and words of this program, so that they do not grow without a bound; `hide` takes
    secrets out of the names of hosts. Raises UsageError where prometheus-client is not installed.
    """

    def __init__(self, hide: Callable[[str], str] = str) -> None:
        self._registry = registry = new_registry()
        from prometheus_client import Counter, Gauge

        self._hide = hide
        self._jobs: set[str] = set()
        self._images = Counter(
            "hangar_mirror_images", "Images by job and what became of them.", ("job", "status"), registry=registry
        )
        self._blobs = Counter(
            "hangar_mirror_blobs", "Blobs by job: sent, mounted, or present.", ("job", "kind"), registry=registry
        )
        self._bytes = Counter(
            "hangar_mirror_bytes", "Bytes of blobs that were sent, by job.", ("job",), registry=registry
        )
        self._errors = Counter(
            "hangar_mirror_errors",
            "Failures of images and of whole runs, by reason.",
            ("job", "reason"),
            registry=registry,
        )
        self._runs = Counter("hangar_mirror_runs", "Runs by job and exit status.", ("job", "status"), registry=registry)
        self._passed = Counter(
            "hangar_mirror_passed_over", "Starts that came while the job was under way.", ("job",), registry=registry
        )
        self._waits = Counter(
            "hangar_mirror_wait_seconds",
            "Seconds for which a host took no requests.",
            ("host", "kind"),
            registry=registry,
        )
        self._retries = Counter("hangar_mirror_retries", "Requests that were repeated.", registry=registry)
        self._quota = Gauge(
            "hangar_mirror_quota_remaining", "Requests that a registry still allows.", ("host",), registry=registry
        )
        self._limit = Gauge("hangar_mirror_quota_limit", "Requests of its quota.", ("host",), registry=registry)
        self._file = Gauge(
            "hangar_mirror_file_right",
            "1 where the job file was right when it was read last, else 0.",
            registry=registry,
        )
        self._of_job = {
            name: Gauge(f"hangar_mirror_{name}_seconds", text, ("job",), registry=registry)
            for name, text in (
                ("last_start_timestamp", "The last start of a job, in seconds since 1970."),
                ("last_success_timestamp", "The end of its last run that brought all images."),
                ("next_start_timestamp", "The next start of a job."),
                ("last_run", "The length of its last run."),
            )
        }

    def keep(self, jobs: Collection[str]) -> None:
        """Forget the times of all other jobs, which are in the file no more."""
        for job in self._jobs.difference(jobs):
            for gauge in self._of_job.values():
                with suppress(KeyError):
                    gauge.remove(job)
        self._jobs = set(jobs)

    def read(self, *, right: bool) -> None:
        """Note whether the job file was right."""
        self._file.set(right)

    def scheduled(self, job: str, start: float, passed_over: int) -> None:
        """Note the next start of a job."""
        self._of_job["next_start_timestamp"].labels(job).set(start)
        self._passed.labels(job).inc(passed_over)

    def started(self, job: str, time: float) -> None:
        """Note the start of a job."""
        self._of_job["last_start_timestamp"].labels(job).set(time)

    def ended(self, job: str, status: int, time: float, seconds: float, reason: str) -> None:
        """Note the end of a run; `reason` is that of an error that broke it off, or ""."""
        self._runs.labels(job, str(status)).inc()
        self._of_job["last_run"].labels(job).set(seconds)
        if status == 0:
            self._of_job["last_success_timestamp"].labels(job).set(time)
        if reason:
            self._errors.labels(job, reason).inc()

    def count(self, job: str, images: Mapping[str, int], blobs: Mapping[str, int], errors: Mapping[str, int]) -> None:
        """Count what became of the images of a run, by status, of the blobs, by kind, and the failures, by reason."""
        for counter, numbers in ((self._images, images), (self._blobs, blobs), (self._errors, errors)):
            for word, number in numbers.items():
                counter.labels(job, word).inc(number)

    def moved(self, job: str, count: int) -> None:
        """Count bytes on their way."""
        self._bytes.labels(job).inc(count)

    def waited(self, host: str, kind: str, seconds: float) -> None:
        """Count the seconds for which a host took no requests: `refused` them, or was `unreachable`."""
        self._waits.labels(self._hide(host), kind).inc(max(seconds, 0.0))

    def retried(self) -> None:
        """Count a request that is repeated."""
        self._retries.inc()

    def quota(self, host: str, remaining: int, limit: int) -> None:
        """Note the quota of a registry."""
        self._quota.labels(self._hide(host)).set(remaining)
        self._limit.labels(self._hide(host)).set(limit)

    @asynccontextmanager
    async def serving(self, host: str, port: int, problem: Callable[[], str]) -> AsyncIterator[str]:
        """Serve the numbers and the probes during the block, as `serving_numbers` does."""
        async with serving_numbers(self._registry, host, port, problem=problem) as address:
            yield address
