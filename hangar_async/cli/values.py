"""The values of flags: from their text to the values that the engine takes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from hangar_async.cli.argv import GlobalFlags
from hangar_async.cli.view.text import PROGRAM
from hangar_async.errors import InvalidValue, UsageError

if TYPE_CHECKING:
    from hangar_async.config.environment import Environment
    from hangar_async.config.output import ReportTarget

#: Standard input as an input, and standard output as an output.
_STANDARD = "-"
_T = TypeVar("_T")


def flags(context: typer.Context) -> GlobalFlags:
    """Return the global flags of the command line."""
    found: GlobalFlags = context.obj
    return found


def shard(text: str | None, count: int | None, environment: Environment) -> str | None:
    """Return the shard that `--shard` or `--shards` names, None for all images; raises UsageError."""
    from hangar_async.config.shard import shard_of_flags

    return shard_of_flags(text, count, environment.variables)


def words(values: Iterable[str]) -> Sequence[str]:
    """Split values at their commas."""
    return tuple(word for value in values for word in value.split(",") if word.strip())


def file_path(text: str, flag: str) -> Path:
    """Read the name of a file to write; raises UsageError."""
    if not Path(text).name:
        raise UsageError(f"{text!r} names no file to write ({flag})")
    return Path(text)


def report_target(text: str | None) -> ReportTarget | None:
    """Read the value of `--report`; raises UsageError."""
    return None if text is None else output_target(text, "--report")


def plan_target(text: str | None) -> ReportTarget | None:
    """Read the value of `--plan-out`; raises UsageError."""
    return None if text is None else output_target(text, "--plan-out")


def output_target(text: str, flag: str) -> ReportTarget:
    """Read the place of a report: a path, or the function that writes to standard output; raises UsageError."""
    from hangar_async.cli.view.text import write_document

    return partial(write_document, stream=sys.stdout) if text == _STANDARD else file_path(text, flag)


def existing_path(text: str, flag: str) -> Path:
    """Read the path of an input; raises UsageError for an empty text, which would be the working directory."""
    if not text:
        raise UsageError(f"{text!r} names nothing ({flag})")
    return Path(text)


def size_of_part(text: str | None, *, part: bool) -> int | None:
    """Read the value of `--part-size`, None without `--part`; raises UsageError."""
    from hangar_async.config.output import DEFAULT_PART_SIZE

    size = _read("--part-size", parse_size, DEFAULT_PART_SIZE if text is None else text)
    if not part and text is not None:
        warn("--part-size makes no parts without --part, and is ignored")
    return size if part else None


def warn(text: str) -> None:
    """Write a warning about the command line."""
    typer.echo(f"{PROGRAM}: warning: {text}", err=True)


def environment_for(flags: GlobalFlags) -> Environment:
    """Read the environment, and let the global flags win; raises UsageError."""
    from hangar_async.config.environment import Environment

    environment = Environment.read()
    sources, destinations = (
        replace(settings, tls_verify=flags.tls_verify)
        for settings in (environment.registries, environment.destinations)
    )
    return replace(environment, registries=sources, destinations=destinations)


@dataclass(frozen=True, slots=True)
class Network:
    """The flags of requests, as they were typed."""

    retries: int
    stall_timeout: str
    max_wait: str
    limit_rate: str | None
    mirror: Sequence[str] = ()
    keep_quota: int | None = None

    def apply_to(self, environment: Environment) -> Environment:
        """Apply the flags to the settings of both sides; raises UsageError."""
        from hangar_async.cli.values import parse_duration, parse_size
        from hangar_async.config.registries import join_routes, parse_mirror

        if self.retries < 0:
            raise UsageError(f"--retries {self.retries}: write 0 or more")
        if self.keep_quota is not None and self.keep_quota < 0:
            raise UsageError(f"--keep-quota {self.keep_quota}: write 0 or more")
        routes = [_read("--mirror", parse_mirror, text) for text in self.mirror]
        stall = _read("--stall-timeout", parse_duration, self.stall_timeout)
        if stall <= 0:
            raise UsageError(f"--stall-timeout {self.stall_timeout}: write a time above 0")
        max_wait = _read("--max-wait", parse_duration, self.max_wait)
        rate = None if self.limit_rate is None else _read("--limit-rate", parse_size, self.limit_rate)
        sources, destinations = (
            replace(
                settings,
                retry=replace(settings.retry, retries=self.retries, max_wait=max_wait, keep_quota=self.keep_quota),
                stall_timeout=stall,
                limit_rate=rate,
            )
            for settings in (environment.registries, environment.destinations)
        )
        # The mirrors of the flags come first.
        mirrors = join_routes([*routes, *sources.mirrors.routes])
        return replace(environment, registries=replace(sources, mirrors=mirrors), destinations=destinations)


def _read(flag: str, parse: Callable[[str], _T], text: str) -> _T:
    try:
        return parse(text)
    except InvalidValue as error:
        raise UsageError(f"{flag}: {error}") from error


def image_list(file: str) -> tuple[Path | Sequence[str], str]:
    """Read the value of `-f`: the path of a list, or its lines and their name where it is standard input."""
    return (_lines_of_standard_input(), "standard input") if file == _STANDARD else (Path(file), "")


def mirrored_images(images: Sequence[str] | None, file: str | None) -> tuple[Path | Sequence[str], str]:
    """Return the list of a mirror and its name: that of `-f`, or the images of the command line.

    Raises UsageError for both or none.
    """
    if (file is None) == (not images):
        raise UsageError("name a list of images with --file, or images: one of the two")
    return (tuple(images or ()), "command line") if file is None else image_list(file)


def _lines_of_standard_input() -> list[str]:
    from hangar_async.imagelist import decode

    try:
        return decode(sys.stdin.buffer.read())
    except OSError as error:
        raise UsageError(f"cannot read the image list from standard input: {error.strerror}") from error


#: `2G`, `2GB`, `2GiB`, `4.5G`: as other tools write them, and always in powers of 1024.
_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))? ?([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhSMH]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def parse_size(text: str) -> int:
    """Read a size in bytes: a number, or one with K, M, G or T (powers of 1024); raises InvalidValue."""
    match = _SIZE.fullmatch(text.strip())
    size = 0
    if match and (match[3] or not match[2]):
        fraction = match[2] or ""
        size = int(match[1] + fraction) * _UNITS[match[3].lower()] // 10 ** len(fraction)
    if not size:
        raise InvalidValue(
            f"{text[:100]!r} is not a size: write a number of bytes above 0, or one with K, M, G or T, such as 2G"
        )
    return size


def parse_duration(text: str) -> float:
    """Read a length of time in seconds: a number, or one with s, m or h; raises InvalidValue."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise InvalidValue(f"{text!r} is not a length of time: write seconds, or a number with s, m or h, such as 15m")
    return float(match[1]) * _SECONDS[match[2].lower()]
