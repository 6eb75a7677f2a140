"""What became of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hangar_async.errors import HangarError
from hangar_async.imagelist import Entry, InvalidLine
from hangar_async.oci.layout import SavedImage


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
