"""What `save` and `sync` are to do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hangar_async.config.environment import Environment
from hangar_async.config.output import FORMATS, OutputSettings, check_archive_format, output_path
from hangar_async.config.registries import MAX_JOBS
from hangar_async.errors import InvalidValue, UsageError
from hangar_async.oci.platform import PlatformSelector
from hangar_async.oci.reference import parse_registry


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveOptions:
    """What `save` is to do.

    `images` is the path of a list, or its lines. `destination` None means the default name; `part_size` is in bytes,
    None for one file; `level` is that of the compression, None for a good choice; `source` replaces the registry of
    every image; `validate` compares what was written with the source; `failed` is where the lines of failed images go
    (None: nowhere). `jobs` outside of 1..20 becomes the nearest bound. `sync=False` leaves out every fsync: for
    measurements only. Raises UsageError when made with a value that cannot be right.
    """

    images: Path | Sequence[str]
    list_name: str = ""
    architectures: Sequence[str] = ("amd64", "arm64")
    systems: Sequence[str] = ()
    format: str = "gzip"
    destination: Path | None = None
    failed: Path | None = Path("save-failed.txt")
    jobs: int = 1
    part_size: int | None = None
    level: int | None = None
    source: str | None = None
    include_foreign: bool = False
    validate: bool = False
    cache: Path = Path("saved-image-cache")
    environment: Environment = field(default_factory=Environment.read)
    sync: bool = True

    def __post_init__(self) -> None:
        try:
            _ = self.output, self.selector, self.source_registry
        except InvalidValue as error:
            raise UsageError(str(error)) from error

    @property
    def selector(self) -> PlatformSelector:
        """The wanted platforms."""
        return PlatformSelector.parse(self.architectures, self.systems)

    @property
    def source_registry(self) -> str | None:
        """The registry that replaces that of every image: the option, else the environment's."""
        name = self.source or self.environment.source_registry
        return parse_registry(name.rstrip("/")) if name else None

    @property
    def permits(self) -> int:
        """How many requests run at once."""
        return min(max(self.jobs, 1), MAX_JOBS)

    @property
    def target(self) -> Path:
        """The path of the output."""
        return output_path(self.destination, self.format)

    @property
    def output(self) -> OutputSettings:
        """What is written, and where."""
        return OutputSettings(
            target=self.target,
            format=self.format,
            part_size=self.part_size,
            level=self.level,
            epoch=self.environment.source_date_epoch,
            sync=self.sync,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressOptions:
    """What `compress` is to do: make an archive, `output`, of the cache directory `cache`."""

    cache: Path
    output: OutputSettings

    def __post_init__(self) -> None:
        check_archive_format(self.output.format)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecompressOptions:
    """What `decompress` is to do: unpack an archive, its parts or one of them, into the new directory `destination`.

    `format` is what the archive has to be, `gzip` or `zstd`; None takes any.
    """

    archive: Path
    destination: Path = Path("saved-image-cache")
    format: str | None = None
    sync: bool = True

    def __post_init__(self) -> None:
        if self.format is not None:
            check_archive_format(self.format)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractOptions:
    """What `extract` is to do: write one image out of an archive or a cache directory.

    `format` is `oci` (the directory `destination`, an OCI image layout) or `docker-archive` (the file `destination`, a
    tar for `docker load`, of one platform). `platform` is OS/ARCH[/VARIANT]; None takes all, or the only one.
    """

    source: Path
    image: str
    destination: Path
    format: str = "oci"
    platform: str | None = None
    sync: bool = True

    def __post_init__(self) -> None:
        if self.format not in ("oci", "docker-archive"):
            raise UsageError(f"unknown format {self.format!r} (--format): write oci or docker-archive")


DEFAULT_LISTEN = "127.0.0.1:5000"
_LISTEN = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\s:/\[\]]*)):(?P<port>[0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What `load` is to do: push images out of an archive, a cache directory, or any OCI image layout into a registry.

    `destination` is REGISTRY[/PREFIX], None for the environment's; `format` what the source has to be (gzip, zstd or
    dir; None takes any); `images` are patterns of names, none for all; `wanted` names images too, as an image list
    does. `spool` is the directory in which an archive without index is put a few blobs at a time. `harbor` makes
    missing projects there first. Raises UsageError when made with a value that cannot be right.
    """

    source: Path
    destination: str | None = None
    format: str | None = None
    failed: Path | None = Path("load-failed.txt")
    jobs: int = 1
    default_project: str = "library"
    images: Sequence[str] = ()
    wanted: Path | Sequence[str] | None = None
    dry_run: bool = False
    sparse_index: bool = False
    platform_tags: bool = False
    harbor: bool = False
    harbor_https: bool = True
    harbor_public: bool = False
    spool: Path = Path()
    environment: Environment = field(default_factory=Environment.read)

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(f"unknown format {self.format!r} (--compress): write gzip, zstd or dir")
        if not (self.destination or self.environment.destination_registry):
            raise UsageError("no registry is named to load into: write --destination, or set DEST_REGISTRY")

    @property
    def where(self) -> str:
        """The destination as it is written."""
        return self.destination or self.environment.destination_registry or ""

    @property
    def permits(self) -> int:
        """How many requests run at once."""
        return min(max(self.jobs, 1), MAX_JOBS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What `serve` is to do: answer as a registry, on `listen`, for what lies at `source`.

    `listen` is HOST:PORT, `[ADDRESS]:PORT`, or `:PORT` for all addresses; port 0 is any free one. `tls_cert` and
    `tls_key` are files in PEM, both or neither; `htpasswd` a file of users, None for anybody. Raises UsageError when
    made with a value that cannot be right.
    """

    source: Path
    listen: str = DEFAULT_LISTEN
    tls_cert: Path | None = None
    tls_key: Path | None = None
    htpasswd: Path | None = None

    def __post_init__(self) -> None:
        _ = self.address
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "--tls-cert" if self.tls_cert is None else "--tls-key"
            raise UsageError(f"TLS needs a certificate and its key: {missing} is missing")

    @property
    def address(self) -> tuple[str, int]:
        """The host ("" for all addresses) and the port."""
        match = _LISTEN.fullmatch(self.listen.strip())
        if not match or int(match["port"]) > 65535:
            raise UsageError(
                f"{self.listen!r} is no address to listen on (--listen): write HOST:PORT, or :PORT for all"
            )
        return match["six"] or match["host"] or "", int(match["port"])
