"""What `save` and `sync` are to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hangar_async.config.environment import Environment
from hangar_async.config.network import MAX_JOBS
from hangar_async.config.output import OutputSettings, output_path
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
