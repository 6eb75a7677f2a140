"""Outputs: formats, levels, names and parts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hangar_async.errors import UsageError

#: File name endings of the archive formats; `dir` has none.
FORMATS = {"gzip": ".tar.gz", "zstd": ".tar.zstd", "dir": ""}
#: The lowest and the highest level of compression.
LEVELS = {"gzip": (0, 9), "zstd": (1, 19)}
#: The digests that `NAME.sha256` may have; `none` leaves the file out.
CHECKSUMS = ("sha256", "none")
#: Endings of names that tell a format.
_ENDINGS = {"gzip": (".tar.gz", ".tgz", ".gz"), "zstd": (".tar.zstd", ".tar.zst", ".zst", ".zstd")}
DEFAULT_NAME = "saved-images"
#: The path that stands for standard output.
STANDARD_OUTPUT = Path("-")
#: The path of a report for machines, or a function that takes its JSON.
ReportTarget: TypeAlias = Path | Callable[[str], object]
DEFAULT_PART_SIZE = "2G"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """The output of a run: its path, format, level and parts.

    `format` is gzip, zstd or dir; `part_size` in bytes, None for one file; `level` that of the compression, None for a
    good choice; `epoch` the SOURCE_DATE_EPOCH in seconds, or None. `sync=False` leaves out every fsync. `replace` lets
    an archive replace an earlier one that holds more of the images. `checksum` is sha256; with none the archive is not
    hashed, and has no `NAME.sha256`. Raises UsageError when made with a wrong value.
    """

    target: Path
    format: str = "gzip"
    part_size: int | None = None
    level: int | None = None
    epoch: int | None = None
    sync: bool = True
    replace: bool = False
    checksum: str = "sha256"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UsageError(f"unknown format {self.format!r} (--compress): write gzip, zstd or dir")
        if not self.target.name:
            raise UsageError(f"{str(self.target)!r} names no file to write (-d): write a name")
        check_level(self.format, self.level)
        if self.part_size is not None and self.part_size <= 0:
            raise UsageError(f"a part of {self.part_size} bytes (--part-size) is not possible: write a size above 0")
        if self.checksum not in CHECKSUMS:
            raise UsageError(f"unknown checksum {self.checksum!r} (--checksum): write sha256 or none")
        if self.checksum == "none" and self.format == "dir":
            raise UsageError("a directory has no file of checksums: leave out --checksum")
        if self.part_size is not None and self.format == "dir":
            raise UsageError("a directory has no parts: leave out --part, or choose --compress gzip or zstd")
        if self.is_stream:
            if self.part_size is not None or self.format == "dir":
                raise UsageError("standard output (-d -) takes one archive: leave out --part, and -c dir")
            object.__setattr__(self, "checksum", "none")
            object.__setattr__(self, "replace", True)

    @property
    def is_stream(self) -> bool:
        """True where the archive goes to standard output."""
        return self.target == STANDARD_OUTPUT

    @property
    def remark(self) -> str:
        """A warning about a name that is that of another format; "" where it is right."""
        for name, endings in _ENDINGS.items():
            if name != self.format and self.target.name.lower().endswith(endings):
                kind = "directory" if self.format == "dir" else f"{self.format} archive"
                return f"{self.target} will be a {kind}: its name is that of {name} (--compress, or another -d)"
        return ""


def output_path(destination: Path, format_: str) -> Path:
    """Return the path of an output: a name without a dot in its last component gets the format's ending."""
    ending = FORMATS.get(format_, "")
    return (
        destination
        if "." in destination.name or not destination.name or destination == STANDARD_OUTPUT
        else destination.with_name(destination.name + ending)
    )


def check_archive_format(format_: str) -> None:
    """Raise UsageError for a format that is none of an archive."""
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
