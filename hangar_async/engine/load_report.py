"""What became of a load, and of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hangar_async.engine.catalog import HeldImage
from hangar_async.engine.transfers import Sent
from hangar_async.errors import HangarError
from hangar_async.oci.digest import Digest
from hangar_async.oci.reference import Reference

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
