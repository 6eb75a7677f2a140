"""Digests, outcomes and reports for the tests of what is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hangar_async.config.options import SaveOptions, SyncOptions
from hangar_async.engine.reports import ImageOutcome, Output, Report, Traffic
from hangar_async.errors import HangarError
from hangar_async.imagelist import Entry, InvalidLine
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image, ImagePlatform
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.platform import Platform
from hangar_async.oci.reference import Reference

MIB = 1 << 20
TRAFFIC = Traffic(12, 3 * MIB, 2, MIB)


def digest(number: int) -> Digest:
    return Digest("sha256", f"{number:064x}")


def entry(text: str, line: int = 1) -> Entry:
    return Entry(Reference.parse(text), line, text)


def saved(text: str, line: int = 1, *, platforms: int = 2, notes: tuple[str, ...] = ()) -> ImageOutcome:
    one = entry(text, line)
    root = Descriptor("application/vnd.oci.image.index.v1+json", digest(line), 100)
    held = tuple(
        ImagePlatform(replace(root, platform=Platform("linux", arch)), f"{number:064x}")
        for number, arch in enumerate(("amd64", "arm64", "arm")[:platforms])
    )
    return ImageOutcome(one, Image(one.reference, root, held), notes=notes)


def failed(text: str, error: HangarError, line: int = 1) -> ImageOutcome:
    return ImageOutcome(entry(text, line), error=error)


def options(**changed: object) -> SaveOptions:
    given: dict[str, object] = {
        "images": Path("images.txt"),
        "destination": Path("saved-images"),
        "cache": Path("saved-image-cache"),
        "failed": Path("save-failed.txt"),
        **changed,
    }
    return SaveOptions(**given)  # type: ignore[arg-type]


def sync_options(**changed: object) -> SyncOptions:
    given: dict[str, object] = {"images": Path("images.txt"), "cache": Path("saved-image-cache"), **changed}
    return SyncOptions(**given)  # type: ignore[arg-type]


def report(
    *outcomes: ImageOutcome,
    output: Output | None = None,
    invalid: tuple[InvalidLine, ...] = (),
    duplicates: int = 0,
    traffic: Traffic = TRAFFIC,
    failed_list: Path | None = None,
    seconds: float = 75.0,
) -> Report:
    return Report(outcomes, invalid, duplicates, traffic, output, seconds, failed_list=failed_list)


@dataclass
class Clock:
    """Seconds that pass when told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now
