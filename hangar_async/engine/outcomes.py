"""The part that the outcomes of all verbs share, and the outcomes of `verify`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from hangar_async.errors import HangarError
from hangar_async.oci import Digest, Image, Reference


class _Outcome:
    """An outcome with an `error` where it is a failure."""

    __slots__ = ()
    error: HangarError | None

    @property
    def ok(self) -> bool:
        """True when the image did not fail."""
        return self.error is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(_Outcome):
    """An outcome with what the image took.

    `seconds` is the time in which a request for it was under way, and `transferred` the number of bytes that were
    fetched or sent for it: content that several images share counts for one of them. `size` is the number of bytes of
    all its content, None where that is not known.
    """

    seconds: float = field(default=0.0, compare=False)
    transferred: int = field(default=0, compare=False)
    size: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Need:
    """The need of an image that would be copied: blobs to send, their bytes, blobs to mount, requests at both sides."""

    blobs: int = 0
    bytes: int = 0
    mounts: int = 0
    requests: int = 0

    def __add__(self, other: Need) -> Need:
        return Need(
            self.blobs + other.blobs,
            self.bytes + other.bytes,
            self.mounts + other.mounts,
            self.requests + other.requests,
        )


#: deleted: it is gone; planned: a run would delete it; left: `reason` says why; failed: it should be gone, and is not.
PruneState: TypeAlias = Literal["deleted", "planned", "left", "failed"]


@dataclass(frozen=True, slots=True)
class PrunedTag:
    """The outcome of a tag that a job has put and does not choose any more."""

    target: Reference
    digest: Digest
    state: PruneState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class VerifiedImage(Measured):
    """One image of an archive or a directory that was read: `error` names what is wrong with it."""

    image: Image
    error: HangarError | None = None

    @property
    def name(self) -> str:
        """The name of the image."""
        return self.image.name


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of `verify`: all images, how many files and bytes were read, and all problems.

    `checksum` is the kind of digest that the parts of an archive were compared with: sha256, or none where there is no
    `NAME.sha256`; then the archive was decoded to its end. It is None for a directory.
    """

    outcomes: tuple[VerifiedImage, ...]
    files: int
    size: int
    problems: tuple[str, ...]
    checksum: str | None = None

    @property
    def images(self) -> tuple[Image, ...]:
        """All images."""
        return tuple(outcome.image for outcome in self.outcomes)

    @property
    def status(self) -> int:
        """The exit status: 0 without problems, 1 otherwise."""
        return 1 if self.problems else 0
