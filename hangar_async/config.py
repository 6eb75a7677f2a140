"""Settings as frozen values; the only place that reads the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hangar_async.errors import InvalidValue, UsageError
from hangar_async.oci.platform import PlatformSelector
from hangar_async.oci.reference import parse_registry

MAX_JOBS = 20
#: File name endings of the archive formats; `dir` has none.
FORMATS = {"gzip": ".tar.gz", "zstd": ".tar.zstd", "dir": ""}
#: The lowest and the highest level of compression.
LEVELS = {"gzip": (0, 9), "zstd": (1, 19)}
DEFAULT_NAME = "saved-images"
DEFAULT_PART_SIZE = "2G"
_SIZE = re.compile(r"([0-9]{1,15})([kmgKMG]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
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


@dataclass(frozen=True, slots=True)
class Proxies:
    """Proxy URLs by the scheme of the request, and the hosts that are asked directly (`NO_PROXY`, split)."""

    http: str | None = None
    https: str | None = None
    bypass: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often what can recover is tried, and the waits between: they double from `first` to `longest` seconds."""

    attempts: int = 5
    first: float = 0.5
    longest: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """How registries are reached.

    `credential_files` are read in their order (Docker's config.json and containers' auth.json alike); `certificates`
    are directories laid out as Docker's certs.d; `username` and `password` belong to one registry, which the
    transfer names. Times are in seconds; there is no limit on the whole of a transfer. `buffered=False` has long bodies
    received by aiohttp's own stream: slower, for a system on which taking them over makes trouble.
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
    credential_helper_timeout: float = 30.0
    buffered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the process's environment says."""

    source_registry: str | None = None
    source_date_epoch: int | None = None
    registries: RegistrySettings = RegistrySettings()

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Environment:
        """Read the environment (the process's own by default); raises UsageError. Empty values count as unset."""
        values = {name: value for name, value in (os.environ if environ is None else environ).items() if value}
        return cls(
            source_registry=values.get("SOURCE_REGISTRY"),
            source_date_epoch=_epoch(values.get("SOURCE_DATE_EPOCH")),
            registries=RegistrySettings(
                username=values.get("SOURCE_USERNAME"),
                password=values.get("SOURCE_PASSWORD"),
                credential_files=_credential_files(values),
                proxies=_proxies(values),
            ),
        )


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
    every image; `failed` is where the lines of failed images go (None: nowhere). `jobs` outside of 1..20 becomes the
    nearest bound. `sync=False` leaves out every fsync: for measurements only. Raises UsageError when made with a
    value that cannot be right.
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


def _credential_files(values: Mapping[str, str]) -> tuple[Path, ...]:
    """Name the files that may hold credentials: those that the environment names first."""
    home = Path(values["HOME"]) if "HOME" in values else _home()
    named = [Path(values["DOCKER_CONFIG"]) / "config.json"] if "DOCKER_CONFIG" in values else []
    if "REGISTRY_AUTH_FILE" in values:
        named.append(Path(values["REGISTRY_AUTH_FILE"]))
    usual = [] if "DOCKER_CONFIG" in values else [home / ".docker" / "config.json"]
    if "XDG_RUNTIME_DIR" in values:
        usual.append(Path(values["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
    settings = Path(values["XDG_CONFIG_HOME"]) if "XDG_CONFIG_HOME" in values else home / ".config"
    return (*named, *usual, settings / "containers" / "auth.json")


def _home() -> Path:
    try:
        return Path.home()
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
