"""The events of a run, as values for an observer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from hangar_async.engine.outcomes import Verdict
    from hangar_async.engine.reports import ComparisonReport, LoadReport, MirrorReport, Outcome, Report
    from hangar_async.oci import Digest, Image


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The list is read: the number of images, and of requests at the same time (0: none are made).

    `planned` has an outcome for each image, as it is before anything is done for it.
    """

    images: int
    jobs: int
    planned: Sequence[Outcome] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Notice:
    """A remark that is no failure: an invalid line, a bound that was applied."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePlanned:
    """The manifests of an image are known; no earlier image of this run named `new_blobs`, of `new_bytes`."""

    name: str
    platforms: int
    new_blobs: int
    new_bytes: int


@dataclass(frozen=True, slots=True)
class BlobStarted:
    """A blob begins to arrive; `size` in bytes, `start` where it goes on from an earlier try."""

    digest: Digest
    size: int
    image: str
    start: int = 0


@dataclass(frozen=True, slots=True)
class BlobProgress:
    """More bytes of a blob (or of a manifest) have arrived: `gained` of them, `done` in all."""

    digest: Digest
    gained: int
    done: int


@dataclass(frozen=True, slots=True)
class BlobEnded:
    """A blob no longer arrives: it is whole and verified, or this try of it failed."""

    digest: Digest
    size: int
    ok: bool


@dataclass(frozen=True, slots=True)
class BlobReused:
    """A blob of an earlier run was hashed, found right, and need not be fetched."""

    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Retrying:
    """A request failed and is repeated after `wait` seconds."""

    request: str
    reason: str
    wait: float
    attempt: int


@dataclass(frozen=True, slots=True)
class HostClosed:
    """A registry refuses requests for now: none is sent to it for `seconds`."""

    host: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class HostUnreachable:
    """A host gives no answer: its requests wait until it does, for at most `longest` seconds."""

    host: str
    reason: str
    longest: float


@dataclass(frozen=True, slots=True)
class HostReached:
    """The requests of a host that gave no answer wait no more: it answers again, or was given up."""

    host: str


@dataclass(frozen=True, slots=True)
class QuotaReported:
    """A registry reported how many requests it still allows in `window` seconds (0: the window is not known)."""

    host: str
    remaining: int
    limit: int
    window: int


@dataclass(frozen=True, slots=True)
class ImageEnded:
    """The end of an image, with its outcome: it is complete, or has failed."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ArchiveProgress:
    """`written` bytes of the archive, compressed, are written so far; `part` is the current part's number, from 0."""

    written: int
    part: int


@dataclass(frozen=True, slots=True)
class Committing:
    """All bytes are written: they are synced and renamed into place."""

    path: str


@dataclass(frozen=True, slots=True)
class CheckStarted:
    """A check, or a copy, begins: `size` bytes in all."""

    size: int


@dataclass(frozen=True, slots=True)
class Checked:
    """More bytes were read and checked, or copied: `gained` of them."""

    gained: int


@dataclass(frozen=True, slots=True)
class Served:
    """The address that is listened on (HOST:PORT), the URL for clients, and the images that are served."""

    address: str
    url: str
    images: tuple[Image, ...]

    @property
    def host(self) -> str:
        """The registry in the name of an image that is pulled from here."""
        return self.url.partition("://")[2]


@dataclass(frozen=True, slots=True)
class Listening:
    """Images are served from now on."""

    served: Served


@dataclass(frozen=True, slots=True)
class Reloaded:
    """Files of a server were read again, and are used from now on: `name` says which."""

    name: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A request to a server was answered: the client's address, and what it asked, as it came.

    `size` is the number of bytes that were sent, with the headers. Only where the options of `serve` ask for it.
    """

    client: str
    method: str
    path: str
    status: int
    size: int
    seconds: float
    agent: str


@dataclass(frozen=True, slots=True)
class JobScheduled:
    """The next start of a standing job, in seconds since 1970; `passed_over` starts came while it was under way."""

    job: str
    start: float
    passed_over: int = 0


@dataclass(frozen=True, slots=True)
class JobStarted:
    """A standing job begins."""

    job: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The end of a standing job, with the status that the command would have.

    `error` is the text of what broke it off, and `reason` that of its class; "" for neither.
    """

    job: str
    status: int
    error: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The end of the run, with its report."""

    report: Report


@dataclass(frozen=True, slots=True)
class LoadEnded:
    """The end of the load, with its report."""

    report: LoadReport


@dataclass(frozen=True, slots=True)
class MirrorEnded:
    """The end of a mirror, with its report."""

    report: MirrorReport


@dataclass(frozen=True, slots=True)
class ComparisonEnded:
    """The end of a load_validate, with its report."""

    report: ComparisonReport


@dataclass(frozen=True, slots=True)
class VerifyEnded:
    """The end of a verify, with its verdict."""

    report: Verdict


Event: TypeAlias = (
    RunStarted
    | Notice
    | ImagePlanned
    | BlobStarted
    | BlobProgress
    | BlobEnded
    | BlobReused
    | Retrying
    | HostClosed
    | HostUnreachable
    | HostReached
    | QuotaReported
    | ImageEnded
    | ArchiveProgress
    | Committing
    | CheckStarted
    | Checked
    | Listening
    | Reloaded
    | Answered
    | JobScheduled
    | JobStarted
    | JobEnded
    | RunEnded
    | LoadEnded
    | MirrorEnded
    | ComparisonEnded
    | VerifyEnded
)
#: Called in the event loop's thread, often: it must be quick and must not raise.
Observer: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Ignore an event."""


def threadsafe(observer: Observer) -> Observer:
    """Return an observer for any thread, whose events reach `observer` in the event loop that runs now."""
    loop = asyncio.get_running_loop()

    def observe(event: Event) -> None:
        loop.call_soon_threadsafe(observer, event)

    return observe


def report_checked(check_interrupted: Callable[[], None], observer: Observer) -> Callable[[int], None]:
    """Return the function that a thread calls for each piece, with its bytes: it ends the work, or reports them."""

    def report(count: int) -> None:
        check_interrupted()
        observer(Checked(count))

    return report
