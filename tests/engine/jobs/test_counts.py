"""Events of jobs are counted under the job that runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hangar_async.engine import events
from hangar_async.engine.jobs.counts import JobCounts
from hangar_async.engine.reports import MirrorOutcome, MirrorReport, Sent
from hangar_async.errors import NotFound
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Digest, Reference
from tests.fakes.clock import FakeClock

NAME = Reference.parse("r.io/a:1")
ENTRY = MirrorEntry(1, "a", NAME, NAME)
GONE = NotFound("gone", host="r.io", status=404)


@dataclass
class Noted:
    """Notes the calls of its methods."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return lambda *words: self.calls.append((name, *words))


def test_events_are_counted() -> None:
    noted: Any = Noted()
    clock = FakeClock(wall=5000.0)
    count = JobCounts(noted, clock.clock)
    outcomes = (
        MirrorOutcome(ENTRY, "copied"),
        MirrorOutcome(ENTRY, "unchanged"),
        MirrorOutcome(ENTRY, "unchanged", same_as=ENTRY),
        MirrorOutcome(ENTRY, "failed", error=GONE),
    )
    sent = Sent(uploaded_blobs=3, mounted_blobs=2, present_blobs=1)
    report = MirrorReport(outcomes, (), 0, sent, 1.0)
    before: tuple[events.Event, ...] = (
        events.JobScheduled("a", 9000.0, 2),
        events.JobStarted("a"),
        events.BlobProgress(Digest.of(b""), 512, 512),
        events.Retrying("x", "y", 1.0, 1),
        events.HostClosed("r.io", "429", 30.0),
        events.HostUnreachable("r.io", "refused", 60.0),
        events.HostUnreachable("r.io", "refused", 60.0),
    )
    after: tuple[events.Event, ...] = (
        events.HostReached("r.io"),
        events.HostReached("other.io"),
        events.QuotaReported("docker.io", 7, 100, 3600),
        events.MirrorEnded(report),
        events.JobEnded("a", 1, "broken", "disk"),
        events.Notice("x"),
    )
    for event in before:
        count(event)
    clock.now += 10
    for event in after:
        count(event)
    assert noted.calls == [
        ("scheduled", "a", 9000.0, 2),
        ("started", "a", 5000.0),
        ("moved", "a", 512),
        ("retried",),
        ("waited", "r.io", "refused", 30.0),
        ("waited", "r.io", "unreachable", 10.0),
        ("waited", "other.io", "unreachable", 0.0),
        ("quota", "docker.io", 7, 100),
        (
            "count",
            "a",
            {"done": 1, "unchanged": 1, "same": 1, "failed": 1},
            {"sent": 3, "mounted": 2, "present": 1},
            {"not found": 1},
        ),
        ("ended", "a", 1, 5010.0, 10.0, "disk"),
    ]
