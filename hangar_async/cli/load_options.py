"""The options of `load` and `load-validate`."""

from __future__ import annotations

from typing import Annotated

import typer

LoadSource = Annotated[
    str,
    typer.Option(
        "-s",
        "--source",
        metavar="ARCHIVE",
        help="An archive, with or without .partN, a cache directory, or any OCI image layout.",
        show_default=False,
    ),
]
PushTo = Annotated[
    str | None,
    typer.Option(
        "-d", "--destination", metavar="REGISTRY[/PREFIX]", help="Where the images go.  [default: $DEST_REGISTRY]"
    ),
]
HeldFormat = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--compress",
        metavar="FORMAT",
        help="gzip, zstd or dir; another one is refused.  [default: what the content says]",
    ),
]
LoadFailedList = Annotated[
    str,
    typer.Option(
        "-o",
        "--failed",
        metavar="LIST",
        show_default=True,
        help="List of the images that failed, to be used with -f; removed when none did.",
    ),
]
ChosenImages = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        metavar="PATTERN",
        help="Only these images: REPOSITORY, REPOSITORY:TAG, or with the registry; * and ? stand for others. May be "
        "repeated.  [default: all]",
    ),
]
ChosenList = Annotated[
    str | None,
    typer.Option(
        "-f", "--file", metavar="LIST", help="Only the images of this list; - is standard input.  [default: all]"
    ),
]
DefaultProject = Annotated[
    str,
    typer.Option(
        "--default-project",
        metavar="NAME",
        show_default=True,
        help="Project of images whose name has none; '' for none.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be pushed where, and ask nothing.  [default: false]")
]
SparseIndex = Annotated[
    bool,
    typer.Option(
        "--sparse-index",
        help="Push the original index even if only some of its platforms are held; not all registries take it.  "
        "[default: false]",
    ),
]
PlatformTags = Annotated[
    bool, typer.Option("--platform-tags", help="Also write a tag TAG-ARCH for each platform.  [default: false]")
]
RepoType = Annotated[
    str | None,
    typer.Option(
        "--repo-type", metavar="TYPE", help="harbor: make the projects that are missing.  [default: nothing is made]"
    ),
]
HarborHttps = Annotated[
    bool,
    typer.Option(
        "--harbor-https/--no-harbor-https", show_default=False, help="Ask Harbor's API by HTTPS.  [default: true]"
    ),
]
HarborPublic = Annotated[
    bool, typer.Option("--harbor-public", help="Make the projects of Harbor public.  [default: false]")
]
SpoolDirectory = Annotated[
    str,
    typer.Option(
        "--spool",
        metavar="DIR",
        show_default=True,
        help="Where blobs of an archive without index are put for a while, 1 GiB at most, or one that is larger.",
    ),
]
