"""The archive formats by their names."""

from __future__ import annotations

from hangar_async.archive.codec import Codec
from hangar_async.archive.gzip_codec import GzipCodec
from hangar_async.archive.output import Output
from hangar_async.archive.zstd_codec import ZstdCodec
from hangar_async.errors import InvalidValue

LEVELS = {"gzip": range(10), "zstd": range(1, 20)}


def check_codec(name: str, level: int | None) -> None:
    """Raise InvalidValue for a format, or a level of it, that does not exist."""
    levels = LEVELS.get(name)
    if levels is None:
        raise InvalidValue(f"{name!r} is no archive format: write gzip or zstd")
    if level is not None and level not in levels:
        raise InvalidValue(f"{name} has no compression level {level}: write a number from {levels[0]} to {levels[-1]}")


def make_codec(name: str, output: Output, level: int | None, workers: int | None) -> Codec:
    """Begin a stream of a format that `check_codec` let pass; `workers` is how many threads compress."""
    kind = GzipCodec if name == "gzip" else ZstdCodec
    return kind(output, level, workers)
