"""The events of standing jobs as numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hangar_async.engine import events
from hangar_async.engine.events import Event
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.reports import MirrorOutcome, MirrorReport

if TYPE_CHECKING:
    from hangar_async.server.job_metrics import JobMetrics

#: The words for what became of an image, by its state.
_STATUSES = {"copied": "done", "unchanged": "unchanged", "kept": "kept", "failed": "failed", "planned": "skipped"}


class JobCounts:
    """An observer that counts what the jobs do, one after the other."""

    def __init__(self, metrics: JobMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._job = ""
        self._began = 0.0
        #: The hosts that give no answer, and since when.
        self._away: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Take in an event; bytes come thousands of times a second, so they are looked at first."""
        metrics, now = self._metrics, self._clock.monotonic
        match event:
            case events.BlobProgress(_, gained):
                metrics.moved(self._job, gained)
            case events.Retrying():
                metrics.retried()
            case events.HostClosed(host, _, seconds):
                metrics.waited(host, "refused", seconds)
            case events.HostUnreachable(host):
                self._away.setdefault(host, now())
            case events.HostReached(host):
                metrics.waited(host, "unreachable", now() - self._away.pop(host, now()))
            case events.QuotaReported(host, remaining, limit):
                metrics.quota(host, remaining, limit)
            case events.MirrorEnded(report):
                self._count(report)
            case _:
                self._of_job(event)

    def _of_job(self, event: Event) -> None:
        match event:
            case events.JobScheduled(job, start, passed):
                self._metrics.scheduled(job, start, passed)
            case events.JobStarted(job):
                self._job, self._began = job, self._clock.monotonic()
                self._metrics.started(job, self._clock.wall())
            case events.JobEnded(job, status, _, reason):
                seconds = self._clock.monotonic() - self._began
                self._metrics.ended(job, status, self._clock.wall(), seconds, reason)
                # A host of a run that has ended is waited for no more.
                self._away.clear()

    def _count(self, report: MirrorReport) -> None:
        outcomes = report.outcomes
        sent = report.sent
        blobs = {"sent": sent.uploaded_blobs, "mounted": sent.mounted_blobs, "present": sent.present_blobs}
        errors = Counter(outcome.error.reason for outcome in outcomes if outcome.error is not None)
        self._metrics.count(self._job, Counter(map(_status, outcomes)), blobs, errors)


def _status(outcome: MirrorOutcome) -> str:
    return "same" if outcome.same_as is not None else _STATUSES[outcome.state]
