"""The document of a report: its fields, which docs/report.md explains, and their JSON schema."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

#: The number of this form.
VERSION = 1
#: done: it is there now; unchanged: it was there before; skipped: nothing was done for it, and `reason` says why.
Status: TypeAlias = Literal["done", "unchanged", "failed", "skipped"]
#: complete: each image was tried; interrupted: by a signal, or cancelled; failed: `error` ended the run.
End: TypeAlias = Literal["complete", "interrupted", "failed"]
#: A time as RFC 3339 has it, in UTC.
Time: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
#: The reasons of images for which nothing was done.
DRY_RUN, SAME_IMAGE, NOT_REACHED, KEPT = "dry run", "same image", "not reached", "kept"


class ErrorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The error that ended a run."""

    reason: str
    message: str
    advice: str
    retriable: bool | None


class ReferrersRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of the referrers that came with an image, or with all."""

    signatures: int
    attestations: int
    others: int


class ImageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one image."""

    name: str
    target: str | None
    line: int | None
    text: str
    status: Status
    reason: str | None
    message: str | None
    advice: str | None
    retriable: bool | None
    same_as: int | None
    source_digest: str | None
    digest: str | None
    replaced: str | None
    platforms: list[str] | None
    size: int | None
    bytes: int
    seconds: float | None
    referrers: ReferrersRecord | None
    notes: list[str]

    @property
    def key(self) -> tuple[str, str | None]:
        """The image and its place at the target, which two records of one image share."""
        return self.name, self.target

    @property
    def is_missing(self) -> bool:
        """True when the image should be tried again: it failed, or its turn did not come."""
        return self.status == "failed" or self.reason == NOT_REACHED


class InvalidRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a list that names no image."""

    list: str
    line: int
    message: str


class TagRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A tag that a job has put and does not choose any more; `reason` says why it is left, or why it is still there."""

    target: str
    digest: str
    status: Literal["deleted", "planned", "left", "failed"]
    reason: str


class OutputRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The files that were written, or the one directory; `kept` is an earlier archive that holds more, and stays."""

    files: list[str]
    bytes: int
    format: str
    kept: str | None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The sums: images by status, lines, blobs and bytes."""

    images: int
    done: int
    unchanged: int
    failed: int
    skipped: int
    invalid: int
    duplicates: int
    blobs: int
    bytes: int
    reused_blobs: int
    reused_bytes: int
    resumed_bytes: int
    mounted_blobs: int
    mounted_bytes: int
    present_blobs: int
    present_bytes: int
    referrers: ReferrersRecord


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One of the runs whose reports were joined."""

    command: str
    program: str
    options: dict[str, Any]
    started: Time
    seconds: float
    end: End
    error: ErrorRecord | None
    output: OutputRecord | None
    failed_list: str | None


class ReportDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a run, or of several joined `runs`; `str()` is its JSON, one image a line.

    A field that is new leaves `version` as it is; one that is gone, or means another thing, does not.
    """

    version: Literal[1] = 1
    command: str
    program: str
    options: dict[str, Any]
    started: Time
    seconds: float
    end: End
    error: ErrorRecord | None
    images: list[ImageRecord]
    invalid: list[InvalidRecord]
    problems: list[str]
    notices: list[str]
    output: OutputRecord | None
    failed_list: str | None
    totals: Totals
    runs: list[RunRecord]
    pruned: list[TagRecord] = []

    def __str__(self) -> str:
        encode = msgspec.json.encode
        images = b",\n".join(map(encode, self.images))
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return encode({**fields, "images": msgspec.Raw(b"[\n%s\n]" % images if images else b"[]")}).decode()

    @property
    def run(self) -> RunRecord:
        """The run itself, for a report of several."""
        return RunRecord(**{name: getattr(self, name) for name in RunRecord.__struct_fields__})


@dataclass(frozen=True, slots=True)
class MergedReports:
    """The report that was joined of several, and the path of the list of images that are still to be tried."""

    document: ReportDocument
    failed_list: Path | None = None

    @property
    def status(self) -> int:
        """The exit status of the command: 0 all images are there, 1 some are not, or lines are invalid."""
        is_whole = self.document.end == "complete" and not self.document.problems
        is_missing = any(record.is_missing for record in self.document.images)
        return 1 if is_missing or self.document.invalid or not is_whole else 0


def schema(kind: Any = ReportDocument, title: str = "Report of hangar-async") -> dict[str, Any]:
    """Return the JSON schema of a document."""
    found = msgspec.json.schema(kind)
    for definition in found["$defs"].values():
        definition["description"] = cleandoc(definition["description"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **found}
