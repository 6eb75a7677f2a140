"""Settings as frozen values."""

from hangar_async.config.archives import CompressOptions, DecompressOptions, ExtractOptions
from hangar_async.config.environment import Environment
from hangar_async.config.far_side import DEFAULT_LISTEN, LoadOptions, ServeOptions
from hangar_async.config.network import MAX_JOBS, Proxies, RegistrySettings, RetryPolicy
from hangar_async.config.output import (
    DEFAULT_NAME,
    DEFAULT_PART_SIZE,
    FORMATS,
    LEVELS,
    OutputSettings,
    check_archive_format,
    check_level,
    output_path,
)
from hangar_async.config.quantities import parse_duration, parse_size
from hangar_async.config.saving import SaveOptions

__all__ = [
    "DEFAULT_LISTEN",
    "DEFAULT_NAME",
    "DEFAULT_PART_SIZE",
    "FORMATS",
    "LEVELS",
    "MAX_JOBS",
    "CompressOptions",
    "DecompressOptions",
    "Environment",
    "ExtractOptions",
    "LoadOptions",
    "OutputSettings",
    "Proxies",
    "RegistrySettings",
    "RetryPolicy",
    "SaveOptions",
    "ServeOptions",
    "check_archive_format",
    "check_level",
    "output_path",
    "parse_duration",
    "parse_size",
]
