"""The values that a coordinator and its workers send each other, as bytes.

Pickled, as everything that dask sends: a program that reaches a scheduler can run any code anyway. No value holds a
login.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hangar_async.config.registries import Mirrors, RetryPolicy
from hangar_async.config.target_options import MirrorOptions
from hangar_async.engine.copy.executor import PlannedCopy
from hangar_async.engine.copy.sides import Registries
from hangar_async.engine.events import Event
from hangar_async.engine.reports import LoadOutcome, Sent
from hangar_async.errors import HangarError
from hangar_async.oci import Descriptor, Reference
from hangar_async.spooled import pickled

#: The name of a task in the cluster: its kind, the registry, the rest of its name, and the run.
Key: TypeAlias = tuple[str, ...]
#: The repository that has a blob, and whether the run has sent it; None where it could not be brought.
Holder: TypeAlias = tuple[str, bool] | None


def encode(value: object) -> bytes:
    """Write a value of this module."""
    return pickled(value)


def decode(data: bytes) -> Any:
    """Read a value of this module, from the other side of a run."""
    return pickle.loads(data)  # noqa: S301 - from the scheduler that the user names


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The settings of a run for its workers, which read logins and proxies from their own environment."""

    release: str
    options: MirrorOptions
    registries: Registries
    images: int
    retry: RetryPolicy
    stall_timeout: float
    tls_verify: bool
    mirrors: Mirrors


@dataclass(frozen=True, slots=True)
class BlobTask:
    """A blob for the repository of an image; `hint` is one where an earlier run has put it.

    `is_new` is as in a BlobPusher.
    """

    key: Key
    source: Reference
    target: Reference
    number: int
    blob: Descriptor
    is_new: bool
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class ImageTask:
    """An image whose blobs are brought by tasks before it, the first ones; the last ones are `known`, with holders."""

    key: Key
    work: PlannedCopy
    blobs: tuple[Descriptor, ...]
    known: tuple[Holder, ...]
    is_new: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """The work of a worker since it last told: events, blobs by registry, and the part of each image."""

    events: tuple[Event, ...] = ()
    sent: Mapping[str, Sent] = field(default_factory=dict)
    usage: Mapping[int, tuple[float, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageResult:
    """The end of an image at a worker: an outcome without contents, or an error; and who has its blobs."""

    outcome: LoadOutcome | None
    error: HangarError | None
    holders: tuple[Holder, ...]
    taken: Taken


@dataclass(frozen=True, slots=True)
class Beat:
    """The regular message to all workers: closed hosts, with seconds and reason, and the rate of each worker."""

    closed: Mapping[str, tuple[float, str]]
    rate: int | None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a worker to a beat; `refusal` says why it does no work."""

    taken: Taken
    threads: int
    refusal: str = ""
