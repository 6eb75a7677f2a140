"""The fields of a job file, as types; its JSON Schema is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

#: One text, or several.
Texts: TypeAlias = str | list[str]
#: What came of a run.
Moment: TypeAlias = Literal["failed", "copied", "pruned", "always"]


class Fields(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    """Fields of a mapping; a name has dashes in the file."""


class TagFields(Fields):
    """Rules that choose tags, applied in this order."""

    match: Annotated[Texts, Meta(description="Patterns of whole tags: globs, or /REGEX/.")] | UnsetType = UNSET
    version: Annotated[str, Meta(description="A range of versions, such as '>=1.25 <4'.")] | UnsetType = UNSET
    variants: (
        Annotated[Texts, Meta(description="Patterns of what follows the version; '' is a tag without.")] | UnsetType
    ) = UNSET
    prereleases: Annotated[bool, Meta(description="Whether prereleases are chosen too.")] | UnsetType = UNSET
    exclude: Annotated[Texts, Meta(description="Patterns of tags that are left out.")] | UnsetType = UNSET
    newer_than: Annotated[str, Meta(description="The greatest age of an image, such as 180d.")] | UnsetType = UNSET
    newest: Annotated[int, Meta(ge=1, description="The number of newest versions of each line.")] | UnsetType = UNSET
    per: Annotated[Literal["major", "minor"], Meta(description="The lines that `newest` counts in.")] | UnsetType = (
        UNSET
    )
    also: Annotated[Texts, Meta(description="Tags that are always chosen.")] | UnsetType = UNSET
    immutable: (
        Annotated[Texts, Meta(description="Patterns of tags that never change: those on both sides are not asked for.")]
        | UnsetType
    ) = UNSET


class PruneFields(Fields):
    """Removal of tags that a job has put at its target, and does not choose any more."""

    keep: Annotated[Texts, Meta(description="Patterns of tags that stay.")] | UnsetType = UNSET
    at_most: (
        Annotated[
            int | str,
            Meta(description="The most tags of a repository that one run removes: a number, or a part such as 10%."),
        ]
        | UnsetType
    ) = UNSET


class ScheduleFields(Fields):
    """The times at which a job begins, for `--watch`."""

    every: Annotated[str, Meta(description="The time between two starts, such as 6h.")] | UnsetType = UNSET
    cron: Annotated[str, Meta(description="The times of the starts, as five fields of cron.")] | UnsetType = UNSET
    timezone: Annotated[str, Meta(description="The time zone of `cron`; UTC without it.")] | UnsetType = UNSET
    jitter: Annotated[str, Meta(description="The most time by which a start is later.")] | UnsetType = UNSET


class ReferrerFields(Fields):
    """The referrers of images."""

    types: Annotated[Texts, Meta(description="Those that go with the images: all, none, or artifact types.")] | (
        UnsetType
    ) = UNSET
    require: Annotated[Texts, Meta(description="Artifact types of which an image must have one.")] | UnsetType = UNSET


class GateFields(Fields):
    """A program that lets an image have its tag by its exit status 0."""

    command: Annotated[list[str], Meta(description="The program and its arguments, with {source} and others.")]
    timeout: Annotated[str, Meta(description="The longest time that it may take, such as 60s.")] | UnsetType = UNSET


class ImageFields(ScheduleFields):
    """Fields that a job has, or takes from the defaults."""

    credentials: Annotated[str, Meta(description="A file of logins, which is asked before all others.")] | UnsetType = (
        UNSET
    )
    to: Annotated[str, Meta(description="The name of each repository there, with {repository} and others.")] | (
        UnsetType
    ) = UNSET
    tags: Annotated[TagFields | Texts, Meta(description="The tags; all of them without it.")] | UnsetType = UNSET
    platforms: Annotated[Texts, Meta(description="Platforms, such as linux/amd64; all without it.")] | UnsetType = UNSET
    index: (
        Annotated[
            Literal["auto", "original", "partial"], Meta(description="The index of which some platforms are wanted.")
        ]
        | UnsetType
    ) = UNSET
    referrers: (
        Annotated[
            ReferrerFields | Texts, Meta(description="Signatures and other referrers: all, none, or artifact types.")
        ]
        | UnsetType
    ) = UNSET
    gate: (
        Annotated[GateFields | list[str], Meta(description="A program that must let each image have its tag.")]
        | UnsetType
    ) = UNSET
    overwrite: (
        Annotated[Literal["moved", "never"], Meta(description="Whether a tag there follows its source.")] | UnsetType
    ) = UNSET
    prune: (
        Annotated[
            PruneFields | Literal["none"], Meta(description="Whether tags that are not chosen any more are removed.")
        ]
        | UnsetType
    ) = UNSET


class JobFields(ImageFields, kw_only=True):
    """A job: images, and their names at another registry."""

    name: Annotated[str, Meta(description="The name of the job.")]
    sources: Annotated[Texts, Meta(description="Repositories.")] | UnsetType = msgspec.field(name="from", default=UNSET)
    list: Annotated[str, Meta(description="A list of images, or of lines SOURCE DEST TAG.")] | UnsetType = UNSET


class RegistryFields(Fields):
    """Settings of a registry."""

    create: (
        Annotated[Literal["none", "harbor", "ecr"], Meta(description="The kind of what is made where it is missing.")]
        | UnsetType
    ) = UNSET
    public: Annotated[bool, Meta(description="Whether the projects of a Harbor are public.")] | UnsetType = UNSET
    immutable_tags: Annotated[bool, Meta(description="Whether the tags of an ECR never change.")] | UnsetType = UNSET
    lifecycle: Annotated[str, Meta(description="A file with the lifecycle policy of an ECR.")] | UnsetType = UNSET
    keep_quota: Annotated[int, Meta(ge=0, description="The pulls of its quota that are left to others.")] | (
        UnsetType
    ) = UNSET
    requests: Annotated[int, Meta(ge=1, description="The requests at the same time, 1 to 60.")] | UnsetType = UNSET


class NotifyFields(Fields):
    """An address that is told what came of a run."""

    when: Annotated[Moment | list[Moment], Meta(description="What must have come of it: any of these words.")]
    webhook: Annotated[str, Meta(description="The address of a POST of the report, as JSON.")]


class OutputFields(Fields):
    """The reports of a run; a flag of the command line wins over a field."""

    json: Annotated[str, Meta(description="The file of the report for machines.")] | UnsetType = UNSET
    failed: Annotated[str, Meta(description="The file of the failed images.")] | UnsetType = UNSET
    metrics: Annotated[str, Meta(description="The address of numbers for Prometheus, for --watch.")] | UnsetType = UNSET


class FileFields(Fields, kw_only=True):
    """A job file."""

    version: Annotated[Literal[1], Meta(description="The version of the format.")]
    state: Annotated[str, Meta(description="The file of what a run knows of the next one.")] | UnsetType = UNSET
    registries: Annotated[dict[str, RegistryFields], Meta(description="Settings by registry.")] | UnsetType = UNSET
    defaults: Annotated[ImageFields, Meta(description="Fields that the jobs have unless they say else.")] | (
        UnsetType
    ) = UNSET
    notify: Annotated[list[NotifyFields], Meta(description="Addresses that are told what came of a run.")] | (
        UnsetType
    ) = UNSET
    report: Annotated[OutputFields, Meta(description="What a run tells, and where.")] | UnsetType = UNSET
    jobs: Annotated[list[JobFields], Meta(description="The jobs, in the order in which they run.")]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of job files."""
    made = msgspec.json.schema(FileFields)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "hangar-async job file", **made}
