"""Settings as frozen values; the only place that reads the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hangar_async.errors import InvalidValue, UsageError
from hangar_async.mirrors import NO_MIRRORS, Mirrors, read_registries_conf
from hangar_async.oci.platform import PlatformSelector
from hangar_async.oci.reference import parse_registry

MAX_JOBS = 20
#: File name endings of the archive formats; `dir` has none.
FORMATS = {"gzip": ".tar.gz", "zstd": ".tar.zstd", "dir": ""}
#: The lowest and the highest level of compression.
LEVELS = {"gzip": (0, 9), "zstd": (1, 19)}
DEFAULT_NAME = "saved-images"
DEFAULT_PART_SIZE = "2G"
DEFAULT_LISTEN = "127.0.0.1:5000"
_LISTEN = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\s:/\[\]]*)):(?P<port>[0-9]{1,5})", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15})([kmgKMG]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhSMH]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
# Eleven octal digits: what the time field of a tar header holds.
_LAST_SECOND = 8**11 - 1


def parse_size(text: str) -> int:
    """Read a size in bytes: a number, or one with K, M or G (powers of 1024); raises InvalidValue."""
    match = _SIZE.fullmatch(text.strip())
    if not match or int(match[1]) == 0:
        raise InvalidValue(
            f"{text[:100]!r} is not a size: write a number of bytes above 0, or one with K, M or G, such as 2G"
        )
    return int(match[1]) * _UNITS[match[2].lower()]


def parse_duration(text: str) -> float:
    """Read a length of time in seconds: a number, or one with s, m or h; raises InvalidValue."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise InvalidValue(f"{text!r} is not a length of time: write seconds, or a number with s, m or h, such as 15m")
    return float(match[1]) * _SECONDS[match[2].lower()]


@dataclass(frozen=True, slots=True)
class Proxies:
    """Proxy URLs by the scheme of the request, and the hosts that are asked directly (`NO_PROXY`, split)."""

    http: str | None = None
    https: str | None = None
    bypass: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often what can recover is tried again in a row, and the waits before: they double from `first` to `longest`.

    A host that asks for a pause gets one of at most `longest_pause`, and of `max_wait` in sum. All in seconds.
    """

    retries: int = 4
    first: float = 0.5
    longest: float = 30.0
    longest_pause: float = 900.0
    max_wait: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """How registries are reached.

    `credential_files` are read in their order (Docker's config.json and containers' auth.json alike); `certificates`
    are directories laid out as Docker's certs.d; `username` and `password` belong to one registry, which the
    transfer names. Times are in seconds; there is no limit on the whole of a transfer. `buffered=False` has long bodies
    received by aiohttp's own stream: slower, for a system on which taking them over makes trouble.
    `limit_rate` caps the bytes a second of all transfers together.
    """

    tls_verify: bool = True
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    credential_files: tuple[Path, ...] = ()
    certificates: tuple[Path, ...] = (Path("/etc/docker/certs.d"),)
    proxies: Proxies = Proxies()
    retry: RetryPolicy = RetryPolicy()
    connect_timeout: float = 30.0
    stall_timeout: float = 60.0
    #: How long a registry may take, after it has got all of an upload, until it says so.
    commit_timeout: float = 600.0
    credential_helper_timeout: float = 30.0
    buffered: bool = True
    limit_rate: int | None = None
    mirrors: Mirrors = NO_MIRRORS

    def verifies(self, registry: str) -> bool:
        """Whether the TLS of a registry is verified, and plain HTTP is out of the question."""
        return self.tls_verify and registry not in self.mirrors.insecure


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the process's environment says.

    `registries` is how registries are reached from which is pulled, `destinations` those to which is pushed.
    `login_file` is the configuration of Docker in which logins are kept.
    """

    source_registry: str | None = None
    destination_registry: str | None = None
    source_date_epoch: int | None = None
    registries: RegistrySettings = RegistrySettings()
    destinations: RegistrySettings = RegistrySettings()
    login_file: Path = field(default_factory=lambda: _docker_config({}))

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Environment:
        """Read the environment (the process's own by default); raises UsageError. Empty values count as unset."""
        values = {name: value for name, value in (os.environ if environ is None else environ).items() if value}
        environment = cls(
            source_registry=values.get("SOURCE_REGISTRY"),
            destination_registry=values.get("DEST_REGISTRY"),
            source_date_epoch=_epoch(values.get("SOURCE_DATE_EPOCH")),
            registries=RegistrySettings(
                username=values.get("SOURCE_USERNAME"),
                password=values.get("SOURCE_PASSWORD"),
                credential_files=_credential_files(values),
                proxies=_proxies(values),
                mirrors=_mirrors(values),
            ),
            login_file=_docker_config(values),
        )
        username, password = values.get("DEST_USERNAME"), values.get("DEST_PASSWORD")
        destinations = replace(environment.registries, username=username, password=password)
        return replace(environment, destinations=destinations)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """What is written, and where.

    `format` is gzip, zstd or dir; `part_size` in bytes, None for one file; `level` that of the compression, None for a
    good choice; `epoch` the SOURCE_DATE_EPOCH in seconds, or None. `sync=False` leaves out every fsync. Raises
    UsageError when made with a value that cannot be right.
    """

    target: Path
    format: str = "gzip"
    part_size: int | None = None
    level: int | None = None
    epoch: int | None = None
    sync: bool = True

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UsageError(f"unknown format {self.format!r} (--compress): write gzip, zstd or dir")
        if not self.target.name:
            raise UsageError(f"{str(self.target)!r} names no file to write (-d): write a name")
        check_level(self.format, self.level)
        if self.part_size is not None and self.part_size <= 0:
            raise UsageError(f"a part of {self.part_size} bytes (--part-size) is not possible: write a size above 0")
        if self.part_size is not None and self.format == "dir":
            raise UsageError("a directory has no parts: leave out --part, or choose --compress gzip or zstd")


def output_path(destination: Path | None, format_: str) -> Path:
    """The path of an output: a name without a dot in its last component gets the format's ending."""
    path = destination or Path(DEFAULT_NAME)
    ending = FORMATS.get(format_, "")
    return path if "." in path.name or not path.name else path.with_name(path.name + ending)


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


def check_archive_format(format_: str) -> None:
    """Raise UsageError for what is no format of an archive."""
    if format_ not in LEVELS:
        raise UsageError(f"unknown format {format_!r} (--format): write gzip or zstd")


def check_level(format_: str, level: int | None) -> None:
    """Raise UsageError for a level of compression that a format does not have; None is always right."""
    if level is None:
        return
    if format_ not in LEVELS:
        raise UsageError(f"--compress-level {level}: a directory is not compressed")
    lowest, highest = LEVELS[format_]
    if not lowest <= level <= highest:
        raise UsageError(f"--compress-level {level} is not a level of {format_}: write {lowest} to {highest}")


def _epoch(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) > _LAST_SECOND:
        raise UsageError(f"SOURCE_DATE_EPOCH={text!r} is not a time: write whole seconds since 1970")
    return int(text)


def _docker_config(values: Mapping[str, str]) -> Path:
    folder = Path(values["DOCKER_CONFIG"]) if "DOCKER_CONFIG" in values else _home(values) / ".docker"
    return folder / "config.json"


def _credential_files(values: Mapping[str, str]) -> tuple[Path, ...]:
    """Name the files that may hold credentials: those that the environment names first."""
    home = _home(values)
    named = [_docker_config(values)] if "DOCKER_CONFIG" in values else []
    if "REGISTRY_AUTH_FILE" in values:
        named.append(Path(values["REGISTRY_AUTH_FILE"]))
    usual = [] if "DOCKER_CONFIG" in values else [_docker_config(values)]
    if "XDG_RUNTIME_DIR" in values:
        usual.append(Path(values["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
    settings = Path(values["XDG_CONFIG_HOME"]) if "XDG_CONFIG_HOME" in values else home / ".config"
    return (*named, *usual, settings / "containers" / "auth.json")


def _mirrors(values: Mapping[str, str]) -> Mirrors:
    path = values.get("CONTAINERS_REGISTRIES_CONF")
    return read_registries_conf(Path(path)) if path else NO_MIRRORS


def _home(values: Mapping[str, str]) -> Path:
    try:
        return Path(values["HOME"]) if "HOME" in values else Path.home()
    except RuntimeError:
        # A user that the system does not know, as in a container; its runtimes take the root for the home then.
        return Path("/")


def _proxies(values: Mapping[str, str]) -> Proxies:
    def either(name: str) -> str | None:
        # Lower case wins, as in curl; upper-case HTTP_PROXY can be forged by a CGI request, which we never serve.
        return values.get(name.lower()) or values.get(name.upper())

    everything = either("all_proxy")
    bypass = tuple(part.strip() for part in (either("no_proxy") or "").split(",") if part.strip())
    return Proxies(either("http_proxy") or everything, either("https_proxy") or everything, bypass)
