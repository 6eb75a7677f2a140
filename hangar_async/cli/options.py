"""The options of the commands, each with its help; an option that commands share stands here once."""

from typing import Annotated, Any, TypeAlias

import typer


def option(flags: str, metavar: str, text: str, *, shown: bool = False) -> Any:
    """Make an option with a value; `shown` adds its default to the help."""
    return typer.Option(*flags.split(), metavar=metavar, help=text, show_default=shown)


def flag(flags: str, text: str) -> Any:
    """Make an option without a value, which is off by default."""
    return typer.Option(*flags.split(), help=f"{text}  [default: false]")


def _argument(metavar: str, text: str) -> Any:
    return typer.Argument(metavar=metavar, help=text, show_default=False)


Text: TypeAlias = str | None
#: The name of the value of each option that is a whole number, and of no other one.
NUMBER = "N"

# The image list, and the platforms of its images.
ImageListFile = Annotated[str, option("-f --file", "LIST", "Image list, one image a line; - is standard input.")]
Architectures = Annotated[
    list[str],
    option(
        "-a --arch",
        "ARCH",
        "Architectures, separated by commas: amd64, arm/v7, linux/arm64, all. May be repeated.",
        shown=True,
    ),
]
Systems = Annotated[
    list[str],
    option("--os", "OS", "Operating systems, separated by commas: linux, windows, all. May be repeated.", shown=True),
]
FailedList = Annotated[
    str, option("-o --failed", "LIST", "List of the failed images, for -f; removed when no image failed.", shown=True)
]
Lenient = Annotated[bool, flag("--lenient", "End with status 0 although lines of the list are invalid.")]
Replace = Annotated[bool, flag("--replace", "Replace an earlier archive, even one that holds more of the images.")]
Checksum = Annotated[
    str,
    option("--checksum", "DIGEST", "sha256, or none: no NAME.sha256, and the archive is not hashed.", shown=True),
]
IncludeForeign = Annotated[bool, flag("--include-foreign", "Fetch foreign layers from their own addresses.")]
Referrers = Annotated[
    str,
    option(
        "--referrers",
        "TYPES",
        "Signatures, attestations and other referrers that go with the images: all, none, or artifact types, separated "
        "by commas.",
        shown=True,
    ),
]
Validate = Annotated[bool, flag("--validate", "Compare the output with the source, by digests.")]

# Mirrors.
MirroredImages = Annotated[
    list[str] | None,
    _argument("[IMAGE]...", "Images in place of a list, each a line of one.  [default: the images of a list]"),
]
MirrorListFile = Annotated[
    Text,
    option(
        "-f --file",
        "LIST",
        "Mirror list: lines SOURCE DEST TAG, or of one image; - is standard input.  [default: the images of the "
        "command line]",
    ),
]
MirrorSource = Annotated[
    Text,
    option(
        "-s --source",
        "HOST[:PORT]",
        "Registry that replaces that of every source.  [default: $SOURCE_REGISTRY, else none]",
    ),
]
MirrorTo = Annotated[
    Text,
    option(
        "-d --destination",
        "REGISTRY[/PREFIX]",
        "Registry that replaces that of every destination.  [default: $DEST_REGISTRY, else that of the line]",
    ),
]
MirrorIndex = Annotated[
    str,
    option(
        "--index",
        "INDEX",
        "Index of an image of which only some platforms are wanted: original, partial, or auto: the original where the "
        "registry takes it.",
        shown=True,
    ),
]
LoadIndex = Annotated[
    str,
    option(
        "--index",
        "INDEX",
        "Index of an image of which only some platforms are held: original, partial, or auto: the original where the "
        "registry takes it.",
        shown=True,
    ),
]
VerifyBytes = Annotated[bool, flag("--verify-bytes", "Hash the blobs here too, before the last byte of each is sent.")]
Recheck = Annotated[
    bool, flag("--recheck", "Look for each manifest of images whose tags are right, and copy what is missing.")
]
MirrorDryRun = Annotated[bool, flag("--dry-run", "Ask both sides, show what would be copied, and send nothing.")]

# The output.
Compression = Annotated[
    str,
    option(
        "-c --compress",
        "FORMAT",
        "gzip, zstd, or dir: no archive, the cache directory becomes the output.",
        shown=True,
    ),
]
Destination = Annotated[
    Text,
    option(
        "-d --destination",
        "NAME",
        "Output; - is standard output. A name without a dot gets the ending .tar.gz, .tar.zstd, or none for dir.  "
        "[default: saved-images]",
    ),
]
Level = Annotated[
    int | None,
    option(
        "--compress-level",
        NUMBER,
        "Level of compression: 0 to 9 for gzip, 1 to 19 for zstd.  [default: 2 for gzip, 2 for zstd]",
    ),
]
Part = Annotated[bool, flag("--part", "Split the archive into parts.")]
PartSize = Annotated[
    Text, option("--part-size", "SIZE", "Size of a part: bytes, or a number with K, M, G or T.  [default: 2G]")
]
CacheToPack = Annotated[
    str, option("-f --file", "DIR", "Cache directory, or another source, to be packed.", shown=True)
]
Sources = Annotated[list[str], _argument("ARCHIVE...", "Archives of images in any form, directories, or -.")]
Prefer = Annotated[
    Text, option("--prefer", "WORD", "first or last, for other images of one name.  [default: they are refused]")
]
ArchiveName = Annotated[
    str,
    option(
        "-d --destination",
        "NAME",
        "Output. A name without a dot gets the ending .tar.gz for gzip, .tar.zstd for zstd.",
        shown=True,
    ),
]
ArchiveFormat = Annotated[str, option("--format", "FORMAT", "gzip or zstd.", shown=True)]
NewCache = Annotated[
    str,
    option("-d --destination", "DIR", "Directory to unpack into; it must not exist, or must be empty.", shown=True),
]
MergedCache = Annotated[
    str, option("-d --destination", "DIR", "Cache directory that the images are added to.", shown=True)
]
ExtractedPath = Annotated[str, option("-o --output", "PATH", "New directory for oci, file for the others.")]
ImageFormat = Annotated[
    str,
    option("--format", "FORMAT", "oci (an OCI image layout), oci-archive or docker-archive (tars).", shown=True),
]
ImportTarget = Annotated[
    Text, option("--for", "PROGRAM", "A tar that this imports: k3s, rke2, k0s, containerd or docker.  [default: none]")
]
Images = Annotated[list[str], _argument("IMAGE...", "Names of the images, as in an image list.")]
OnePlatform = Annotated[
    Text, option("--platform", "OS/ARCH", "The one platform to write.  [default: all platforms of the image]")
]

# Registries.
Source = Annotated[
    Text,
    option(
        "-s --source",
        "HOST[:PORT]",
        "Registry that replaces the registry of every image.  [default: $SOURCE_REGISTRY, else none]",
    ),
]
Mirror = Annotated[
    list[str] | None,
    option(
        "--mirror",
        "REGISTRY=MIRROR",
        "Mirror that is asked first for the images of a registry, such as docker.io=mirror.local:5000. May be "
        "repeated.  [default: the mirrors of $CONTAINERS_REGISTRIES_CONF]",
    ),
]
Jobs = Annotated[int, option("-j --jobs", NUMBER, "Images at the same time, 1 to 20.", shown=True)]
BlobsPerImage = Annotated[
    int, option("--blobs-per-image", NUMBER, "Blobs of one image at the same time, manifests too, 1 to 12.", shown=True)
]
Requests = Annotated[
    int,
    option(
        "--requests", NUMBER, "Requests at the same time in all, 1 to 60; fewer for a fragile registry.", shown=True
    ),
]
Retries = Annotated[
    int,
    option(
        "--retries",
        NUMBER,
        "How often a failed request is repeated before its image fails; a wait that the registry asks for is no try.",
        shown=True,
    ),
]
StallTimeout = Annotated[
    str,
    option(
        "--stall-timeout",
        "TIME",
        "Longest time without a byte from a registry: seconds, or a number with s, m or h.",
        shown=True,
    ),
]
MaxWait = Annotated[
    str,
    option(
        "--max-wait",
        "TIME",
        "Longest sum of all waits for a registry: for its limit of requests, or its answer.",
        shown=True,
    ),
]
KeepQuota = Annotated[
    int | None,
    option("--keep-quota", NUMBER, "Pulls of a registry's quota that are left to others.  [default: none is left]"),
]
StateFile = Annotated[
    Text,
    option(
        "--state",
        "FILE",
        "File of what a run knows that saves requests to the next one; large uploads go on with it.  [default: none]",
    ),
]
LimitRate = Annotated[
    Text,
    option(
        "--limit-rate",
        "SIZE",
        "Bytes a second of all transfers together: a number, or one with K, M, G or T.  [default: no limit]",
    ),
]
Registry = Annotated[str, _argument("REGISTRY", "HOST[:PORT]; docker.io is Docker Hub.")]
Username = Annotated[Text, option("-u --username", "NAME", "User name.  [default: asked for on a terminal]")]
PasswordStdin = Annotated[bool, flag("--password-stdin", "Read the password from standard input.")]

# Archives and layouts that are read.
Archive = Annotated[
    str, _argument("ARCHIVE", "An archive of images in any form, with or without .partN, a directory, or -.")
]
Json = Annotated[bool, flag("--json", "Write one JSON document instead.")]
ArchiveFile = Annotated[str, option("-f --file", "FILE", "An archive, with or without .partN.")]
ExpectedFormat = Annotated[
    Text, option("--format", "FORMAT", "gzip or zstd; another one is refused.  [default: the format of the content]")
]

# Loading.
LoadSource = Annotated[
    str, option("-s --source", "ARCHIVE", "A source of images in any form, a directory, or - for standard input.")
]
PushTo = Annotated[
    Text, option("-d --destination", "REGISTRY[/PREFIX]", "Registry that the images go to.  [default: $DEST_REGISTRY]")
]
NameTemplate = Annotated[
    Text,
    option(
        "--to",
        "TEMPLATE",
        "Names of the images there, in place of -d: REGISTRY/REPOSITORY, with {registry}, {repository}, {namespace}, "
        "{name}, {1} to {9} for parts of their own.  [default: names below -d]",
    ),
]
HeldFormat = Annotated[
    Text, option("-c --compress", "FORMAT", "The format that the source must have.  [default: that of the content]")
]
ChosenImages = Annotated[
    list[str] | None,
    option(
        "--image",
        "PATTERN",
        "Only these images: REPOSITORY, REPOSITORY:TAG, or with the registry; * and ? stand for others. May be "
        "repeated.  [default: all]",
    ),
]
GivenName = Annotated[
    Text, option("--name", "IMAGE", "Name of the only image, or of the only one that has none.  [default: its own]")
]
ChosenList = Annotated[
    Text, option("-f --file", "LIST", "Only the images of this list; - is standard input.  [default: all]")
]
DefaultProject = Annotated[
    str, option("--default-project", "NAME", "Project of images whose name has none; '' for none.", shown=True)
]
DryRun = Annotated[bool, flag("--dry-run", "Show which images would be pushed under which names, and ask nothing.")]
SparseIndex = Annotated[bool, flag("--sparse-index", "The same as --index original.")]
OnExistingTag = Annotated[
    str,
    option(
        "--on-existing-tag",
        "WORD",
        "For a tag that names another image there: overwrite, skip, or error, which fails the image.",
        shown=True,
    ),
]
PlatformTags = Annotated[bool, flag("--platform-tags", "Also write a tag TAG-ARCH for each platform.")]
SpoolDirectory = Annotated[
    str,
    option(
        "--spool",
        "DIR",
        "Directory for blobs of an archive without index, 1 GiB at most, or one blob that is larger.",
        shown=True,
    ),
]
