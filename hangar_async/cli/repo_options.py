"""The options of projects and repositories that are made at a registry, each with its help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hangar_async.cli.options import flag, option
from hangar_async.errors import UsageError

if TYPE_CHECKING:
    from hangar_async.config.creation import Creation

RepoType = Annotated[
    str | None,
    option(
        "--repo-type",
        "TYPE",
        "harbor or ecr: make the projects or repositories that are missing there.  [default: nothing is made]",
    ),
]
HarborHttps = Annotated[
    bool,
    typer.Option(
        "--harbor-https/--no-harbor-https", show_default=False, help="Ask Harbor's API by HTTPS.  [default: true]"
    ),
]
HarborPublic = Annotated[bool, flag("--harbor-public", "Make new projects of Harbor public, not private.")]
EcrImmutableTags = Annotated[
    bool,
    flag("--ecr-immutable-tags", "Make repositories of ECR whose tags never change."),
]
EcrLifecycle = Annotated[
    str | None,
    option("--ecr-lifecycle", "FILE", "Lifecycle policy, JSON, of the repositories that are made.  [default: none]"),
]


def creation(repo_type: str | None, *, harbor: tuple[bool, bool], ecr: tuple[bool, str | None]) -> Creation | None:
    """Read the flags: those of Harbor are HTTPS and public, those of ECR immutable tags and a lifecycle policy.

    Raises UsageError.
    """
    # Imported late: the help does not need it.
    from hangar_async.cli.values import existing_path
    from hangar_async.config.creation import REPO_TYPES, Creation

    if repo_type != "ecr" and any(ecr):
        flag = "--ecr-immutable-tags" if ecr[0] else "--ecr-lifecycle"
        raise UsageError(f"{flag} is for repositories of ECR: write --repo-type ecr too")
    if repo_type is None:
        return None
    for kind in REPO_TYPES:
        if repo_type == kind:
            lifecycle = None if ecr[1] is None else existing_path(ecr[1], "--ecr-lifecycle")
            return Creation(kind, *harbor, ecr[0], lifecycle)
    raise UsageError(f"unknown type {repo_type!r} (--repo-type): write harbor or ecr")
