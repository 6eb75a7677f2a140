"""The options of the verbs: values that are checked when they are made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hangar_async.config.environment import NO_ENVIRONMENT, Environment
from hangar_async.config.jobs import BLOBS, MAX_REQUESTS, JobOptions
from hangar_async.config.listen import parse_listen, parse_metrics
from hangar_async.config.output import OutputSettings, ReportTarget, check_archive_format, output_path
from hangar_async.config.referrers import checked_referrers
from hangar_async.errors import InvalidValue, UsageError
from hangar_async.oci import Image, PlatformPattern, PlatformSelector, ReferrerSelector, parse_registry

DEFAULT_ARCHITECTURES = ("amd64", "arm64")


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions(JobOptions):
    """The options that `save` and `sync` share: the images, their platforms, and how they are fetched.

    `images` is the path of a list, or its lines, which `list_name` names in messages. `source` replaces the registry of
    every image; `failed` is the path of the list of failed images (None: none is written). `lenient` lets a run with
    invalid lines in its list end with status 0. `report` is the path of the report for machines, or a function that
    takes its JSON; it is written also where the run breaks off. `jobs` images are fetched at once, 1 to 20 (the nearest
    of these for another number), each with at most `blobs_per_image` blobs at once, 1 to 12, and all together with at
    most `requests` requests, 1 to 60. `referrers` are the signatures and other referrers that come with the images:
    "all", "none", or artifact types separated by commas. `environment` holds settings and credentials; nothing is read
    from the environment of the process. `sync=False` leaves out every fsync: for measurements only. `shard` is
    I/N, the part I of the list, from 0 on, of N parts, by the repositories; None for all of it. Raises UsageError when
    made with a wrong value.
    """

    images: Path | Sequence[str]
    list_name: str = ""
    architectures: Sequence[str] = DEFAULT_ARCHITECTURES
    systems: Sequence[str] = ()
    failed: Path | None = None
    report: ReportTarget | None = None
    lenient: bool = False
    jobs: int = 1
    blobs_per_image: int = BLOBS
    requests: int = MAX_REQUESTS
    source: str | None = None
    include_foreign: bool = False
    referrers: str = "all"
    environment: Environment = NO_ENVIRONMENT
    sync: bool = True
    shard: str | None = None

    def __post_init__(self) -> None:
        _ = self.referrer_selector, self.chosen_shard
        try:
            _ = self.selector, self.source_registry, self.limits
        except InvalidValue as error:
            raise UsageError(str(error)) from error

    @property
    def selector(self) -> PlatformSelector:
        """The platforms that are fetched."""
        return PlatformSelector.parse(self.architectures, self.systems)

    @property
    def referrer_selector(self) -> ReferrerSelector:
        """The referrers that come with the images."""
        return checked_referrers(self.referrers)

    def unmatched(self, images: Iterable[Image]) -> tuple[PlatformPattern, ...]:
        """Return the architectures that were asked for and that no image has; the usual ones are asked for always."""
        if tuple(self.architectures) == DEFAULT_ARCHITECTURES:
            return ()
        platforms = dict.fromkeys(platform.platform for image in images for platform in image.platforms)
        return self.selector.unmatched(list(platforms)) if platforms else ()

    @property
    def source_registry(self) -> str | None:
        """The registry that replaces that of every image: the option, else the environment's."""
        name = self.source or self.environment.source_registry
        return parse_registry(name.rstrip("/")) if name else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveOptions(FetchOptions):
    """The options of `save`: the images, and the output.

    A `destination` without a dot in its name gets the ending of the format. `part_size` is in bytes, None for one
    file; `level` is that of the compression, None for a good choice; `validate` compares the output with the source.
    `cache` is the directory of manifests and blobs, which stays for the next run; None makes one beside the
    destination that is removed at the end. `replace` lets an archive replace an earlier one that holds more of the
    list's images; otherwise it becomes `STEM.incomplete.SUFFIX`. `checksum` is sha256, or none for an archive without
    `NAME.sha256`.
    """

    destination: Path
    format: str = "gzip"
    part_size: int | None = None
    level: int | None = None
    validate: bool = False
    cache: Path | None = None
    replace: bool = False
    checksum: str = "sha256"

    def __post_init__(self) -> None:
        FetchOptions.__post_init__(self)
        if self.output.is_stream and self.validate:
            raise UsageError("standard output (-d -) cannot be read back: leave out --validate")
        if self.output.is_stream and callable(self.report):
            raise UsageError("standard output (-d -) is for the archive: write the report into a file (--report)")
        _ = self.output

    @property
    def output(self) -> OutputSettings:
        """The output: its path, format and parts."""
        return OutputSettings(
            target=output_path(self.destination, self.format),
            format=self.format,
            part_size=self.part_size,
            level=self.level,
            epoch=self.environment.source_date_epoch,
            sync=self.sync,
            replace=self.replace,
            checksum=self.checksum,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions(FetchOptions):
    """The options of `sync`: the images, and the cache directory that they are added to."""

    cache: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressOptions:
    """The options of `compress`: the cache directory, or any other source, and the archive that is made of it."""

    cache: Path
    output: OutputSettings

    def __post_init__(self) -> None:
        check_archive_format(self.output.format)

    @property
    def sources(self) -> Sequence[Path]:
        """The source, as of a merge."""
        return [self.cache]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOptions:
    """The options of `merge`: sources of any form, and the archive that is made of all their images.

    `prefer` is `first` or `last`: the source whose image is taken where two have other images of one name; None refuses
    that. Raises UsageError when made with a wrong value.
    """

    sources: Sequence[Path]
    output: OutputSettings
    prefer: str | None = None

    def __post_init__(self) -> None:
        check_archive_format(self.output.format)
        if self.prefer not in (None, "first", "last"):
            raise UsageError(f"unknown word {self.prefer!r} (--prefer): write first or last")
        if not self.sources:
            raise UsageError("no source is named: write at least one")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecompressOptions:
    """The options of `decompress`: an archive, with or without `.partN`, and the new directory for its content.

    `format` is the only one that is accepted, `gzip` or `zstd`; None accepts both.
    """

    archive: Path
    destination: Path
    format: str | None = None
    sync: bool = True

    def __post_init__(self) -> None:
        if self.format is not None:
            check_archive_format(self.format)


EXTRACT_FORMATS = ("oci", "oci-archive", "docker-archive")
#: The importers of tars that `extract` writes for.
TARGETS = ("k3s", "rke2", "k0s", "containerd", "docker")
#: Those that take zstd, and tell it by the ending of the name. Source: rancher/wharfie, pkg/tarfile.
_TOLD_BY_ENDING = ("k3s", "rke2")
_ZSTD_ENDINGS = (".tar.zst", ".tzst")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractOptions:
    """The options of `extract`: images of a source, one or several, and where they are written.

    `format` is `oci` (the directory `destination`, an OCI image layout), `oci-archive` (the file `destination`, a tar
    of one) or `docker-archive` (a tar for `docker load`, of one platform of each image). `target` is one of TARGETS: a
    tar in the form that this one imports, and `format` is not looked at. `platform` is OS/ARCH[/VARIANT]; None takes
    all, or the only one. Raises UsageError when made with a wrong value.
    """

    source: Path
    image: str | Sequence[str]
    destination: Path
    format: str = "oci"
    platform: str | None = None
    target: str | None = None
    sync: bool = True

    def __post_init__(self) -> None:
        if self.format not in EXTRACT_FORMATS:
            raise UsageError(f"unknown format {self.format!r} (--format): write {', '.join(EXTRACT_FORMATS)}")
        if self.target is not None:
            if self.target not in TARGETS:
                raise UsageError(f"unknown word {self.target!r} (--for): write {', '.join(TARGETS)}")
            object.__setattr__(self, "format", "oci-archive")
        if not self.names:
            raise UsageError("no image is named: write at least one")

    @property
    def names(self) -> Sequence[str]:
        """The names of the images."""
        return [self.image] if isinstance(self.image, str) else self.image

    @property
    def compressed(self) -> bool:
        """True where the tar is compressed by zstd: a name that ends in .tar is that of a plain one."""
        return self.target in _TOLD_BY_ENDING and self.destination.suffix != ".tar"

    @property
    def remark(self) -> str | None:
        """The problem of a name by which the importer does not know the tar; None for any other name."""
        if not self.compressed or self.destination.name.endswith(_ZSTD_ENDINGS):
            return None
        return f"{self.target} passes over {self.destination.name}: give it a name that ends in .tar.zst, or .tar"


DEFAULT_LISTEN = "127.0.0.1:5000"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The options of `serve`: the archive or directory at `source`, and the address that it is served on.

    `listen` is HOST:PORT, `[ADDRESS]:PORT`, or `:PORT` for all addresses; port 0 is any free one. `tls_cert` and
    `tls_key` are files in PEM, both or neither; `htpasswd` a file of users, None for anybody. `max_per_address` is the
    number of connections that one address may have, None for half of all. `metrics` is the address, [HOST:]PORT, of
    numbers for Prometheus, by default on 127.0.0.1; `access` says that each request is an `Answered` for the observer.
    Raises UsageError when made with a wrong value.
    """

    source: Path
    listen: str = DEFAULT_LISTEN
    tls_cert: Path | None = None
    tls_key: Path | None = None
    htpasswd: Path | None = None
    max_per_address: int | None = None
    metrics: str | None = None
    access: bool = False

    def __post_init__(self) -> None:
        _ = self.address, self.metrics_address
        if self.max_per_address is not None and self.max_per_address < 1:
            raise UsageError(f"--max-per-address is {self.max_per_address}: write a number from 1 on")
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "--tls-cert" if self.tls_cert is None else "--tls-key"
            raise UsageError(f"TLS needs a certificate and its key: {missing} is missing")

    @property
    def address(self) -> tuple[str, int]:
        """The host ("" for all addresses) and the port."""
        return parse_listen(self.listen, "--listen")

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """The host and the port of the numbers; None for none."""
        return None if self.metrics is None else parse_metrics(self.metrics)


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The options of `ls`: an archive, with or without `.partN`, a cache directory, or an OCI image layout."""

    source: Path


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """The options of `verify`: an archive, with or without `.partN`, a cache directory, or an OCI image layout.

    `report` is as in `save`.
    """

    source: Path
    report: ReportTarget | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReportsOptions:
    """The options of `merge_reports`: the `reports` of runs, and the one that is made of them.

    `report` is its path, or a function that takes its JSON; `failed` is the path of the list of the images that are
    still to be tried (None: none is written). Raises UsageError when made without reports.
    """

    reports: Sequence[Path]
    report: ReportTarget
    failed: Path | None = None

    def __post_init__(self) -> None:
        if not self.reports:
            raise UsageError("no report is named: name those of the runs")


@dataclass(frozen=True, slots=True)
class LoginOptions:
    """The options of `login`: a registry, HOST[:PORT], and the user name and password for it.

    They are kept in the `login_file` of the environment.
    """

    registry: str
    username: str
    password: str = field(repr=False)
    environment: Environment = NO_ENVIRONMENT


@dataclass(frozen=True, slots=True)
class LogoutOptions:
    """The options of `logout`: a registry, HOST[:PORT], whose login is removed from the environment's `login_file`."""

    registry: str
    environment: Environment = NO_ENVIRONMENT
