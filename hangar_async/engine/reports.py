"""What became of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hangar_async.errors import HangarError
from hangar_async.imagelist import Entry, InvalidLine
from hangar_async.layout.files import SavedImage
from hangar_async.layout.images import HeldImage
from hangar_async.oci.digest import Digest
from hangar_async.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """What became of one image of the list: `image` when it was saved, else `error`; both where its source differs.

    `same_as` is the earlier entry that turned out to be the same image, saved once under that entry.
    `notes` name what was left out of it: foreign layers, entries of unknown platform.
    """

    entry: Entry
    image: SavedImage | None = None
    error: HangarError | None = None
    same_as: Entry | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it was saved, by itself or as an earlier entry."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Blobs and bytes, manifests among them: fetched from registries, and reused from the cache.

    `resumed_bytes` are those of blobs that an earlier run had begun to fetch.
    """

    fetched_blobs: int = 0
    fetched_bytes: int = 0
    reused_blobs: int = 0
    reused_bytes: int = 0
    resumed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """What was written: the files (parts in their order; or the one directory), and their size in bytes."""

    files: tuple[Path, ...]
    size: int
    format: str
    compressor: str = ""

    @property
    def path(self) -> Path:
        """The first file, or the directory."""
        return self.files[0]


@dataclass(frozen=True, slots=True)
class Report:
    """The sum of a run; `seconds` is its length, `tail_seconds` what the archive still took after the last image.

    `output` is None when nothing was saved; `validated` says that it was compared with its source.
    """

    outcomes: tuple[ImageOutcome, ...]
    invalid: tuple[InvalidLine, ...]
    duplicates: int
    traffic: Traffic
    output: Output | None
    seconds: float
    tail_seconds: float = 0.0
    validated: bool = False
    failed_list: Path | None = None
    notices: tuple[str, ...] = field(default=())

    @property
    def saved(self) -> tuple[ImageOutcome, ...]:
        """The images that are in the output, each once."""
        return tuple(outcome for outcome in self.outcomes if outcome.image is not None)

    @property
    def failed(self) -> tuple[ImageOutcome, ...]:
        """The images that are not, or that are other ones at their source now."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)

    @property
    def status(self) -> int:
        """The exit status of the command: 0 all saved, 1 some failed, 3 nothing was saved."""
        if self.output is None:
            return 3
        return 1 if self.failed else 0


#: pushed: it is there now; there: it was there already; planned: nothing was done.
State = Literal["pushed", "there", "planned", "failed"]


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """What became of one image: where it went, and the digest under its tag there; `error` where it failed.

    `note` says what of it a person may want to know: that only a part of its index is there. `replaced` is the digest
    of something else that the tag named before.
    """

    image: HeldImage
    where: Reference
    state: State
    digest: Digest | None = None
    error: HangarError | None = None
    note: str = ""
    replaced: Digest | None = None

    @property
    def ok(self) -> bool:
        """Whether it is there."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The sum of a load; `seconds` is its length. `dry` says that nothing was asked or sent."""

    source: Path
    destination: str
    outcomes: tuple[LoadOutcome, ...]
    sent: Sent
    seconds: float
    dry: bool = False
    failed_list: Path | None = None
    notices: tuple[str, ...] = field(default=())

    @property
    def failed(self) -> tuple[LoadOutcome, ...]:
        """The images that are not there."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)

    @property
    def status(self) -> int:
        """The exit status of the command: 0 all are there, 1 some are not."""
        return 1 if self.failed else 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One image compared by digests: `error` says what differs, or why that is not known."""

    image: HeldImage
    where: Reference
    error: HangarError | None = None

    @property
    def ok(self) -> bool:
        """Whether all is the same."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """What comparing came to: `source` is what is held, `destination` what it was compared with."""

    source: Path
    destination: str
    comparisons: tuple[Comparison, ...]
    seconds: float
    failed_list: Path | None = None
    notices: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Comparison, ...]:
        """The images that differ, or could not be compared."""
        return tuple(one for one in self.comparisons if not one.ok)

    @property
    def status(self) -> int:
        """The exit status of the command: 0 all are the same, 1 some are not."""
        return 1 if self.failed else 0


@dataclass(slots=True)
class Sent:
    """Blobs and bytes: uploaded (bytes of tries that failed count), mounted from another repository, there already."""

    uploaded_blobs: int = 0
    uploaded_bytes: int = 0
    mounted_blobs: int = 0
    mounted_bytes: int = 0
    present_blobs: int = 0
    present_bytes: int = 0
