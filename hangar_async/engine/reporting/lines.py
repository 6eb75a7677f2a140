"""The events of a run as lines of JSON, whose names and fields docs/report.md explains.

Each class here is the line of the event of its name; the name is in `event`, as `blob-started`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

from hangar_async.engine import events
from hangar_async.engine.events import Event
from hangar_async.engine.reporting.document import record_of, report_document, time_text
from hangar_async.engine.reporting.records import ImageRecord, Time, Totals
from hangar_async.engine.reporting.secrets import without_secrets
from hangar_async.oci import Digest


def _name(kind: str) -> str:
    return re.sub("(?<=.)(?=[A-Z])", "-", kind).lower()


class Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=_name):
    """A line, at a time; `str()` is its JSON."""

    time: Time

    def __str__(self) -> str:
        return msgspec.json.encode(self).decode()


class RunStarted(Line, frozen=True, kw_only=True):
    """The list is read: so many images, and so many requests at once."""

    images: int
    requests: int


class CheckStarted(Line, frozen=True, kw_only=True):
    """A check or a copy of so many bytes begins."""

    size: int


class Notice(Line, frozen=True, kw_only=True):
    """A warning."""

    text: str


class ImagePlanned(Line, frozen=True, kw_only=True):
    """The manifests of an image are known; no earlier image named the new blobs."""

    name: str
    platforms: int
    new_blobs: int
    new_bytes: int


class BlobStarted(Line, frozen=True, kw_only=True):
    """A blob begins to arrive, or to be sent, from byte `start` on."""

    digest: str
    size: int
    image: str
    start: int


class BlobEnded(Line, frozen=True, kw_only=True):
    """A blob is whole, or this try of it failed."""

    digest: str
    size: int
    ok: bool


class BlobReused(Line, frozen=True, kw_only=True):
    """A blob is there already."""

    digest: str
    size: int


class Retrying(Line, frozen=True, kw_only=True):
    """A request failed, and is repeated after `wait` seconds."""

    request: str
    reason: str
    wait: float
    attempt: int


class HostClosed(Line, frozen=True, kw_only=True):
    """A registry refuses requests, and is asked again after `seconds`."""

    host: str
    reason: str
    seconds: float


class HostUnreachable(Line, frozen=True, kw_only=True):
    """A host gives no answer, and is waited for, for `longest` seconds at most."""

    host: str
    reason: str
    longest: float


class HostReached(Line, frozen=True, kw_only=True):
    """The requests to a host that gave no answer wait no more."""

    host: str


class QuotaReported(Line, frozen=True, kw_only=True):
    """A registry still allows `remaining` requests of `limit` in `window` seconds, 0 where that is not known."""

    host: str
    remaining: int
    limit: int
    window: int


class Progress(Line, frozen=True, kw_only=True):
    """The sums so far, at most every ten seconds."""

    images: int
    done: int
    failed: int
    bytes: int
    planned_bytes: int
    checked_bytes: int
    archive_bytes: int


class ImageEnded(Line, frozen=True, kw_only=True):
    """The end of an image, with its record as a report has it."""

    image: ImageRecord


class Committing(Line, frozen=True, kw_only=True):
    """All bytes of an output are written, and it is put in place."""

    path: str


class Listening(Line, frozen=True, kw_only=True):
    """Images are served from now on."""

    address: str
    url: str
    images: int


class Reloaded(Line, frozen=True, kw_only=True):
    """Files of a server were read again."""

    name: str


class Answered(Line, frozen=True, kw_only=True):
    """A request to a server was answered."""

    client: str
    method: str
    path: str
    status: int
    size: int
    seconds: float
    agent: str


class JobScheduled(Line, frozen=True, kw_only=True):
    """The next start of a standing job, in seconds since 1970."""

    job: str
    start: float
    passed_over: int


class JobStarted(Line, frozen=True, kw_only=True):
    """A standing job begins."""

    job: str


class JobEnded(Line, frozen=True, kw_only=True):
    """The end of a standing job; `error` is what broke it off, and `reason` its class, or both are ""."""

    job: str
    status: int
    error: str
    reason: str


class RunEnded(Line, frozen=True, kw_only=True):
    """The end of a run of a command that has a report, with its sums."""

    seconds: float
    status: int
    totals: Totals


class Error(Line, frozen=True, kw_only=True):
    """The error that ends the command with this status."""

    reason: str
    message: str
    advice: str
    status: int


class Message(Line, frozen=True, kw_only=True):
    """A line for people."""

    text: str


class Dropped(Line, frozen=True, kw_only=True):
    """So many lines are left out here: they came faster than they were read."""

    lines: int


AnyLine: TypeAlias = (
    RunStarted
    | CheckStarted
    | Notice
    | ImagePlanned
    | BlobStarted
    | BlobEnded
    | BlobReused
    | Retrying
    | HostClosed
    | HostUnreachable
    | HostReached
    | QuotaReported
    | Progress
    | ImageEnded
    | Committing
    | Listening
    | Reloaded
    | Answered
    | JobScheduled
    | JobStarted
    | JobEnded
    | RunEnded
    | Error
    | Message
    | Dropped
)
#: The lines with the fields of their events.
_ALIKE: Mapping[type, type[AnyLine]] = {
    events.CheckStarted: CheckStarted,
    events.Notice: Notice,
    events.ImagePlanned: ImagePlanned,
    events.BlobStarted: BlobStarted,
    events.BlobEnded: BlobEnded,
    events.BlobReused: BlobReused,
    events.Retrying: Retrying,
    events.HostClosed: HostClosed,
    events.HostUnreachable: HostUnreachable,
    events.HostReached: HostReached,
    events.QuotaReported: QuotaReported,
    events.Committing: Committing,
    events.Reloaded: Reloaded,
    events.Answered: Answered,
    events.JobScheduled: JobScheduled,
    events.JobStarted: JobStarted,
    events.JobEnded: JobEnded,
}


def now() -> str:
    """Return the present time as lines have it."""
    return time_text(datetime.now(UTC))


def line_of(event: Event) -> AnyLine | None:
    """Make the line of an event; None for the bytes that arrive, are checked or written, which are a Progress."""
    if (kind := _ALIKE.get(type(event))) is not None:
        names = [name for name in kind.__struct_fields__ if name != "time"]
        return kind(time=now(), **{name: _plain(getattr(event, name)) for name in names})
    match event:
        case events.RunStarted(images, jobs):
            return RunStarted(time=now(), images=images, requests=jobs)
        case events.ImageEnded(outcome):
            return ImageEnded(time=now(), image=record_of(outcome))
        case events.Listening(served):
            return Listening(time=now(), address=served.address, url=served.url, images=len(served.images))
        case events.RunEnded(report) | events.LoadEnded(report) | events.MirrorEnded(report):
            return _ended(report)
        case events.ComparisonEnded(report) | events.VerifyEnded(report):
            return _ended(report)
        case _:
            return None


def _ended(report: Any) -> RunEnded:
    document = report_document("", report)
    return RunEnded(time=now(), seconds=document.seconds, status=report.status, totals=document.totals)


def _plain(value: object) -> Any:
    return without_secrets(value) if isinstance(value, str | Digest) else value
