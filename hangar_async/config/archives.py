"""What is to be done with an archive, or to become one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hangar_async.config.output import OutputSettings, check_archive_format
from hangar_async.errors import UsageError


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
