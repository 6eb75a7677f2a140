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
Level = Annotated[
    int | None,
    typer.Option(
        "--compress-level",
        metavar="N",
        help="Level of compression: 0 to 9 for gzip, 1 to 19 for zstd.  [default: 2 for gzip, 2 for zstd]",
    ),
]
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
Retries = Annotated[
    int,
    typer.Option(
        "--retries",
        metavar="N",
        show_default=True,
        help="Tries in a row after one that failed and gained nothing; a wait that the registry asks for is no try.",
    ),
]
StallTimeout = Annotated[
    str,
    typer.Option(
        "--stall-timeout",
        metavar="TIME",
        show_default=True,
        help="How long nothing may arrive: seconds, or a number with s, m or h.",
    ),
]
MaxWait = Annotated[
    str,
    typer.Option(
        "--max-wait",
        metavar="TIME",
        show_default=True,
        help="How long in sum a registry may make us wait that limits the rate of requests.",
    ),
]
LimitRate = Annotated[
    str | None,
    typer.Option(
        "--limit-rate",
        metavar="SIZE",
        help="Bytes a second of all transfers together: a number, or one with K, M or G.  [default: no limit]",
    ),
]
Mirror = Annotated[
    list[str] | None,
    typer.Option(
        "--mirror",
        metavar="REGISTRY=MIRROR",
        help="Where a registry's images are tried first, such as docker.io=mirror.local:5000. May be repeated.  "
        "[default: those of $CONTAINERS_REGISTRIES_CONF]",
    ),
]
IncludeForeign = Annotated[
    bool,
    typer.Option("--include-foreign", help="Fetch foreign layers from their own addresses.  [default: false]"),
]
Validate = Annotated[
    bool,
    typer.Option("--validate", help="Compare what was written with the source, by digests.  [default: false]"),
]
Archive = Annotated[
    str,
    typer.Argument(
        metavar="ARCHIVE",
        help="An archive, with or without .partN, a cache directory, or an OCI layout.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON document instead.  [default: false]")]
CacheToPack = Annotated[
    str, typer.Option("-f", "--file", metavar="DIR", show_default=True, help="Cache directory to be packed.")
]
ArchiveName = Annotated[
    str,
    typer.Option(
        "-d",
        "--destination",
        metavar="NAME",
        show_default=True,
        help="Output. A name without a dot gets the ending .tar.gz for gzip, .tar.zstd for zstd.",
    ),
]
ArchiveFormat = Annotated[str, typer.Option("--format", metavar="FORMAT", show_default=True, help="gzip or zstd.")]
ArchiveFile = Annotated[str, typer.Option("-f", "--file", metavar="FILE", help="An archive, with or without .partN.")]
ExpectedFormat = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="FORMAT", help="gzip or zstd; another one is refused.  [default: what the content says]"
    ),
]
NewCache = Annotated[
    str,
    typer.Option(
        "-d",
        "--destination",
        metavar="DIR",
        show_default=True,
        help="Directory to unpack into; it must not exist, or be empty.",
    ),
]
MergedCache = Annotated[
    str,
    typer.Option(
        "-d",
        "--destination",
        metavar="DIR",
        show_default=True,
        help="Cache directory that the images are added to.",
    ),
]
Image = Annotated[
    str, typer.Argument(metavar="IMAGE", help="Name of the image, as in an image list.", show_default=False)
]
ExtractedPath = Annotated[
    str, typer.Option("-o", "--output", metavar="PATH", help="New directory for oci, file for docker-archive.")
]
ImageFormat = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT",
        show_default=True,
        help="oci (an OCI image layout) or docker-archive (a tar for docker load).",
    ),
]
OnePlatform = Annotated[
    str | None,
    typer.Option("--platform", metavar="OS/ARCH", help="The one platform to write.  [default: all of the image]"),
]
Registry = Annotated[
    str, typer.Argument(metavar="REGISTRY", help="HOST[:PORT]; docker.io is Docker Hub.", show_default=False)
]
Username = Annotated[
    str | None,
    typer.Option("-u", "--username", metavar="NAME", help="User name.  [default: asked for on a terminal]"),
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.  [default: false]")
]
Listen = Annotated[
    str,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        show_default=True,
        help="Address to answer on; :PORT is all addresses, [ADDRESS]:PORT one of IPv6.",
    ),
]
TlsCertificate = Annotated[
    str | None,
    typer.Option("--tls-cert", metavar="FILE", help="Certificate in PEM, with those above it.  [default: plain HTTP]"),
]
TlsKey = Annotated[
    str | None,
    typer.Option("--tls-key", metavar="FILE", help="The certificate's key in PEM.  [default: plain HTTP]"),
]
Htpasswd = Annotated[
    str | None,
    typer.Option("--htpasswd", metavar="FILE", help="Who may pull, as htpasswd -B writes it.  [default: anybody]"),
]
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
