"""The options of the commands, each with its help; what commands share is said once."""

from __future__ import annotations

from typing import Annotated

import typer

ImageListFile = Annotated[
    str, typer.Option("-f", "--file", metavar="LIST", help="Image list, one image a line; - is standard input.")
]
Architectures = Annotated[
    list[str],
    typer.Option(
        "-a",
        "--arch",
        metavar="ARCH",
        show_default=True,
        help="Architectures, separated by commas: amd64, arm/v7, linux/arm64, all. May be repeated.",
    ),
]
Systems = Annotated[
    list[str],
    typer.Option("--os", metavar="OS", show_default=True, help="Systems, separated by commas. May be repeated."),
]
Compression = Annotated[
    str,
    typer.Option(
        "-c",
        "--compress",
        metavar="FORMAT",
        show_default=True,
        help="gzip, zstd, or dir: no archive, the cache directory becomes the destination.",
    ),
]
Destination = Annotated[
    str | None,
    typer.Option(
        "-d",
        "--destination",
        metavar="NAME",
        help="Output. A name without a dot gets the ending .tar.gz for gzip, .tar.zstd for zstd, none for dir.  "
        "[default: saved-images]",
    ),
]
FailedList = Annotated[
    str,
    typer.Option(
        "-o",
        "--failed",
        metavar="LIST",
        show_default=True,
        help="List of the images that failed, to be used with -f; removed when none did.",
    ),
]
Jobs = Annotated[int, typer.Option("-j", "--jobs", metavar="N", show_default=True, help="Requests at once, 1 to 20.")]
Part = Annotated[bool, typer.Option("--part", help="Split the archive into parts.  [default: false]")]
PartSize = Annotated[
    str,
    typer.Option(
        "--part-size", metavar="SIZE", show_default=True, help="Size of a part: bytes, or a number with K, M or G."
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        "-s",
        "--source",
        metavar="HOST[:PORT]",
        help="Registry in place of that of every image.  [default: $SOURCE_REGISTRY, else each its own]",
    ),
]
IncludeForeign = Annotated[
    bool,
    typer.Option("--include-foreign", help="Fetch foreign layers from their own addresses.  [default: false]"),
]
