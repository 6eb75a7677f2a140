"""The results of a run: the outcome of each image, and the sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from hangar_async.engine.outcomes import Measured, Need, PrunedTag, Verdict, VerifiedImage
from hangar_async.errors import HangarError
from hangar_async.imagelist import Entry, InvalidLine
from hangar_async.oci import Digest, Image, Reference

if TYPE_CHECKING:
    from hangar_async.effort import Effort
    from hangar_async.engine.events import QuotaReported
    from hangar_async.mirrorlist import MirrorEntry


@dataclass(frozen=True, slots=True)
class ReferrerCounts:
    """The numbers of the referrers that came with an image."""

    signatures: int = 0
    attestations: int = 0
    others: int = 0

    @classmethod
    def of(cls, images: Iterable[Image]) -> Self:
        """Count images that are referrers."""
        kinds = [image.attachment.kind for image in images if image.attachment is not None]
        return cls(kinds.count("signature"), kinds.count("attestation"), kinds.count("other"))

    def __add__(self, other: ReferrerCounts) -> ReferrerCounts:
        return ReferrerCounts(
            self.signatures + other.signatures, self.attestations + other.attestations, self.others + other.others
        )

    @property
    def total(self) -> int:
        """The number of all."""
        return self.signatures + self.attestations + self.others


@dataclass(frozen=True, slots=True)
class ImageOutcome(Measured):
    """The outcome of one image of the list: `image` when it was saved, else `error`; both where its source differs.

    `same_as` is the earlier entry that turned out to be the same image, saved once under that entry. `notes` name the
    content that was left out: foreign layers, entries of unknown platform, attestations that are gone. `left_out` is
    the number of the last: what only accompanies an image, and is no longer at its registry. `referrers` is None where
    they were not looked for.
    """

    entry: Entry
    image: Image | None = None
    error: HangarError | None = None
    same_as: Entry | None = None
    notes: tuple[str, ...] = ()
    left_out: int = 0
    referrers: ReferrerCounts | None = None

    @property
    def name(self) -> str:
        """The name of the image."""
        return str(self.entry.reference)


@dataclass(slots=True)
class Traffic:
    """Blobs and bytes, manifests among them: fetched, reused from the cache, and resumed of an earlier run's blobs."""

    fetched_blobs: int = 0
    fetched_bytes: int = 0
    reused_blobs: int = 0
    reused_bytes: int = 0
    resumed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """The files that were written (parts in their order; or the one directory), and their size in bytes.

    `kept` is an earlier archive that holds more of the images: it stays, and this one is named as incomplete.
    """

    files: tuple[Path, ...]
    size: int
    format: str
    compressor: str = ""
    kept: Path | None = None

    @property
    def path(self) -> Path:
        """The first file, or the directory."""
        return self.files[0]


@dataclass(frozen=True, slots=True)
class Report:
    """The sum of a save; `seconds` is its length, `tail_seconds` the time of the archive after the last image.

    `output` is None when nothing was saved; `validated` says that it was compared with its source; `lenient` that
    invalid lines are no failure. `quotas` are the last that registries have told.
    """

    outcomes: Sequence[ImageOutcome]
    invalid: tuple[InvalidLine, ...]
    duplicates: int
    traffic: Traffic
    output: Output | None
    seconds: float
    tail_seconds: float = 0.0
    validated: bool = False
    lenient: bool = False
    failed_list: Path | None = None
    effort: Effort | None = None
    notices: tuple[str, ...] = ()
    quotas: tuple[QuotaReported, ...] = ()

    @property
    def saved(self) -> tuple[ImageOutcome, ...]:
        """The images that are in the output, each once."""
        return tuple(outcome for outcome in self.outcomes if outcome.image is not None)

    @property
    def failed(self) -> tuple[ImageOutcome, ...]:
        """The images that are not in the output, or that are other ones at their source now."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)

    @property
    def left_out(self) -> int:
        """The number of attestations, signatures and other companions of the images that are gone."""
        return sum(outcome.left_out for outcome in self.outcomes)

    @property
    def status(self) -> int:
        """The exit status of the command: 0 all saved, 1 some failed or lines are invalid, 3 nothing was saved."""
        # A shard may have no images.
        if self.output is None and self.outcomes:
            return 3
        return 1 if self.failed or (self.invalid and not self.lenient) else 0


@dataclass(slots=True)
class Sent:
    """Blobs and bytes: uploaded (failed tries count), mounted, there already; and `resumed_bytes` of an earlier run."""

    uploaded_blobs: int = 0
    uploaded_bytes: int = 0
    mounted_blobs: int = 0
    mounted_bytes: int = 0
    present_blobs: int = 0
    present_bytes: int = 0
    resumed_bytes: int = 0

    def add(self, other: Sent) -> None:
        """Add what was sent to another registry."""
        for name in (one.name for one in fields(self)):
            setattr(self, name, getattr(self, name) + getattr(other, name))


#: pushed: it is at the target now; present: it was there before; kept: another image has its tag there, and stays;
#: planned: nothing was done.
State = Literal["pushed", "present", "kept", "planned", "failed"]


@dataclass(frozen=True, slots=True)
class LoadOutcome(Measured):
    """The outcome of one image: its name at the target, and the digest of its tag there; `error` where it failed.

    `note` is for people: that only a part of its index is there. `replaced` is the digest of another image that the tag
    named before. `referrers` are those that are at the target, None where they were not looked for.
    """

    image: Image
    target: Reference
    state: State
    digest: Digest | None = None
    error: HangarError | None = None
    note: str = ""
    replaced: Digest | None = None
    referrers: ReferrerCounts | None = None

    @property
    def name(self) -> str:
        """The name of the image in the layout."""
        return self.image.name


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The sum of a load; `seconds` is its length. `dry` says that nothing was asked or sent."""

    source: Path
    destination: str
    outcomes: Sequence[LoadOutcome]
    sent: Sent
    seconds: float
    dry: bool = False
    failed_list: Path | None = None
    effort: Effort | None = None
    notices: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[LoadOutcome, ...]:
        """The images that are not at the target."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)

    @property
    def status(self) -> int:
        """The exit status of the command: 0 all are there, 1 some are not."""
        return 1 if self.failed else 0


#: copied: it is at the target now; unchanged: it was there before; kept: another one is there, and stays; planned: it
#: would be copied.
MirrorState = Literal["copied", "unchanged", "kept", "planned", "failed"]


@dataclass(frozen=True, slots=True)
class MirrorOutcome(Measured):
    """The outcome of one image of a mirror: the digests at its source and of its name at the target.

    `image` has the platforms of one that was copied; `same_as` is the earlier entry that is the same image under the
    same name. `note`, `replaced` and `referrers` are as in a LoadOutcome; `need` that of a planned one, if asked for.
    """

    entry: MirrorEntry
    state: MirrorState
    source_digest: Digest | None = None
    digest: Digest | None = None
    image: Image | None = None
    error: HangarError | None = None
    same_as: MirrorEntry | None = None
    note: str = ""
    replaced: Digest | None = None
    referrers: ReferrerCounts | None = None
    need: Need | None = None

    @property
    def name(self) -> str:
        """The name of the image at its source."""
        return str(self.entry.source)


@dataclass(frozen=True, slots=True)
class MirrorReport:
    """The sum of a mirror; `seconds` is its length. `dry` says that nothing was sent; `lenient` as in a Report.

    `with_referrers` says that referrers were wanted. `pruned` are tags that the jobs of a file do not choose any more.
    """

    outcomes: Sequence[MirrorOutcome]
    invalid: tuple[InvalidLine, ...]
    duplicates: int
    sent: Sent
    seconds: float
    dry: bool = False
    lenient: bool = False
    failed_list: Path | None = None
    effort: Effort | None = None
    notices: tuple[str, ...] = ()
    with_referrers: bool = False
    quotas: tuple[QuotaReported, ...] = ()
    pruned: tuple[PrunedTag, ...] = ()

    @property
    def unlooked(self) -> int:
        """The number of unchanged images whose referrers are wanted, and were not looked for."""
        unchanged = [one for one in self.outcomes if one.state == "unchanged" and one.same_as is None]
        return sum(one.referrers is None for one in unchanged) if self.with_referrers else 0

    @property
    def failed(self) -> tuple[MirrorOutcome, ...]:
        """The images that are not at their targets."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)

    @property
    def status(self) -> int:
        """The exit status of the command: 0 all are there, 1 some are not, or lines are invalid, 3 none is there."""
        if self.failed and len(self.failed) == len(self.outcomes):
            return 3
        return 1 if self.failed or (self.invalid and not self.lenient) else 0


@dataclass(frozen=True, slots=True)
class Comparison(Measured):
    """One image compared by digests: `error` is the difference, or the reason why that is not known.

    `digest` is that of the name at the target, where it is the same image.
    """

    image: Image
    target: Reference
    error: HangarError | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """The name of the image in the layout."""
        return self.image.name


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """The sum of a comparison of a layout, `source`, with a registry, `destination`."""

    source: Path
    destination: str
    comparisons: Sequence[Comparison]
    seconds: float
    failed_list: Path | None = None
    notices: tuple[str, ...] = ()

    @property
    def outcomes(self) -> Sequence[Comparison]:
        """The comparisons, by the name that other reports have."""
        return self.comparisons

    @property
    def failed(self) -> tuple[Comparison, ...]:
        """The images that differ, or could not be compared."""
        return tuple(comparison for comparison in self.comparisons if not comparison.ok)

    @property
    def status(self) -> int:
        """The exit status of the command: 0 all are the same, 1 some are not."""
        return 1 if self.failed else 0


Outcome: TypeAlias = ImageOutcome | LoadOutcome | MirrorOutcome | Comparison | VerifiedImage
AnyReport: TypeAlias = Report | LoadReport | MirrorReport | ComparisonReport | Verdict


@dataclass(frozen=True, slots=True)
class Conversion:
    """The mirror list that was written: the numbers of lines converted, and kept; the lines that are invalid."""

    path: Path
    converted: int
    kept: int
    invalid: tuple[InvalidLine, ...] = ()

    @property
    def status(self) -> int:
        """The exit status of the command: 0 all lines are in the list, 1 some are invalid."""
        return 1 if self.invalid else 0
