"""The next steps after failures: commands that can be pasted into a shell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hangar_async.cli.view.text import PROGRAM, Rows, command_text, flag_size, one_line
from hangar_async.config.jobs import BLOBS, JobLimits
from hangar_async.config.output import DEFAULT_NAME
from hangar_async.config.registries import RegistrySettings
from hangar_async.layout.files import CACHE_NAME

if TYPE_CHECKING:
    from hangar_async.config.options import CompressOptions, FetchOptions, SaveOptions, SyncOptions
    from hangar_async.config.target_options import LoadOptions, MirrorOptions
    from hangar_async.engine.reports import ComparisonReport, LoadReport, MirrorReport, Report

_CACHE, _NAME = Path(CACHE_NAME), Path(DEFAULT_NAME)


def after_save(report: Report, options: SaveOptions) -> Rows:
    """Make the lines after a save; none when nothing failed."""
    if not report.failed or report.failed_list is None:
        return
    failed = one_line(str(report.failed_list))
    if report.output is None or options.output.is_stream:
        yield "next", f"the failed lines are in {failed}; to try these again:"
        yield "", command_text(_save(report.failed_list, options))
    elif options.format == "dir":
        yield "next", f"the failed lines are in {failed}; to add these images to the directory:"
        yield "", command_text(_sync(report.failed_list, options, report.output.path))
    else:
        yield "next", f"the failed lines are in {failed}; to fetch these images, and make an archive of all:"
        yield "", command_text(_sync(report.failed_list, options, options.cache or _CACHE))
        yield "", command_text(_compress(options))


def after_sync(report: Report, options: SyncOptions) -> Rows:
    """Make the lines after a sync; none when nothing failed."""
    if report.failed and report.failed_list is not None:
        yield "next", f"the failed lines are in {one_line(str(report.failed_list))}; to try these again:"
        yield "", command_text(_sync(report.failed_list, options, options.cache))


def after_compress(report: Report, options: CompressOptions) -> Rows:
    """Make the lines after a compress; none when nothing failed."""
    if report.failed:
        yield (
            "next",
            f"bring the failed images into {one_line(str(options.cache))} again, then run the same command again:",
        )
        yield "", command_text([PROGRAM, "sync", "-f", "LIST", *_destination(options.cache)])


def after_load(report: LoadReport | ComparisonReport, options: LoadOptions) -> Rows:
    """Make the lines after a load or a comparison; none when nothing failed."""
    if report.failed_list is not None:
        yield "next", f"the failed images are in {one_line(str(report.failed_list))}; to push these images:"
        yield "", command_text([PROGRAM, "load", *_load_flags(options, report.failed_list)])


def after_mirror(report: MirrorReport, options: MirrorOptions) -> Rows:
    """Make the lines after a mirror; none when nothing failed."""
    yield from _copy_again(report, options)


def after_mirror_validate(report: MirrorReport, options: MirrorOptions) -> Rows:
    """Make the lines after a comparison of both sides; none when nothing failed."""
    yield from _copy_again(report, replace(options, recheck=True))


def _copy_again(report: MirrorReport, options: MirrorOptions) -> Rows:
    if report.failed and report.failed_list is not None:
        yield "next", f"the failed lines are in {one_line(str(report.failed_list))}; to copy these images:"
        yield "", command_text([PROGRAM, "mirror", *_mirror_copy_flags(options, report.failed_list)])


def _save(failed: Path, options: SaveOptions) -> list[str]:
    words = [PROGRAM, "save", *_lists("save", failed)]
    words += ["-d", str(options.destination)] if options.destination != _NAME else []
    words += ["-c", options.format] if options.format != "gzip" else []
    return words + _network_flags(options) + _archive_flags(options)


def _sync(failed: Path, options: FetchOptions, cache: Path) -> list[str]:
    return [PROGRAM, "sync", *_lists("sync", failed), *_destination(cache), *_network_flags(options)]


def _compress(options: SaveOptions) -> list[str]:
    words = [PROGRAM, "compress"]
    words += ["-f", str(options.cache)] if options.cache not in (None, _CACHE) else []
    words += ["-d", str(options.destination)] if options.destination != _NAME else []
    words += ["--format", options.format] if options.format != "gzip" else []
    return words + _archive_flags(options)


def _lists(command: str, failed: Path) -> list[str]:
    """Return the flags that read a list of failed images; a command does not write the list that it reads."""
    words = ["-f", str(failed)]
    if failed == Path(f"{command}-failed.txt"):
        words += ["-o", f"{command}-failed-2.txt"]
    return words


def _destination(cache: Path) -> list[str]:
    return ["-d", str(cache)] if cache != _CACHE else []


def _network_flags(options: FetchOptions) -> list[str]:
    """Return the flags of the list and the registries that differ from the defaults."""
    words = [] if tuple(options.architectures) == ("amd64", "arm64") else ["-a", ",".join(options.architectures)]
    words += ["--os", ",".join(options.systems)] if {"all"}.isdisjoint(options.systems) and options.systems else []
    words += _job_flags(options.limits)
    words += ["-s", options.source] if options.source else []
    words += ["--include-foreign"] if options.include_foreign else []
    settings = options.environment.registries
    return words + _registry_flags(settings) + _mirror_flags(settings)


def _job_flags(limits: JobLimits) -> list[str]:
    """Return the flags of what is done at once that differ from the defaults."""
    words = ["-j", str(limits.jobs)] if limits.jobs != 1 else []
    words += ["--blobs-per-image", str(limits.blobs)] if limits.blobs != BLOBS else []
    return words + (["--requests", str(limits.requests)] if limits.is_narrowed else [])


def _registry_flags(settings: RegistrySettings) -> list[str]:
    """Return the flags of requests that differ from the defaults."""
    usual = RegistrySettings()
    words = [] if settings.tls_verify else ["--tls-verify=false"]
    for flag, value, default in (
        ("--retries", settings.retry.retries, usual.retry.retries),
        ("--stall-timeout", settings.stall_timeout, usual.stall_timeout),
        ("--max-wait", settings.retry.max_wait, usual.retry.max_wait),
    ):
        words += [flag, f"{value:g}"] if value != default else []
    words += ["--limit-rate", flag_size(settings.limit_rate)] if settings.limit_rate else []
    return words + (["--keep-quota", str(settings.retry.keep_quota)] if settings.retry.keep_quota is not None else [])


def _mirror_flags(settings: RegistrySettings) -> list[str]:
    # The other settings come from the same file again.
    pairs = [
        f"{route.prefix}={mirror.location}"
        for route in settings.mirrors.routes
        for mirror in route.mirrors
        if not mirror.insecure and mirror.pull == "all" and "*" not in route.prefix
    ]
    return [word for pair in pairs for word in ("--mirror", pair)]


def _archive_flags(options: SaveOptions) -> list[str]:
    """Return the flags of the archive that differ from the defaults."""
    words = ["--part", "--part-size", flag_size(options.part_size)] if options.part_size else []
    words += ["--compress-level", str(options.level)] if options.level is not None else []
    words += ["--checksum", options.checksum] if options.checksum != "sha256" else []
    return words


def _load_flags(options: LoadOptions, failed: Path) -> list[str]:
    """Return the flags of a load of the failed images that differ from the defaults."""
    words = ["-s", str(options.source)]
    words += ["-d", options.destination] if options.destination else []
    words += ["--to", options.template] if options.template is not None else []
    if options.name is None:
        words += _lists("load", failed)
    else:
        # Its source does not know this name, which is in the list.
        words += [word for pattern in options.images for word in ("--image", pattern)] + ["--name", options.name]
    words += _job_flags(options.limits)
    words += _project_flags(options)
    words += ["--index", options.index] if options.index != "partial" else []
    words += ["--sparse-index"] if options.sparse_index else []
    words += ["--on-existing-tag", options.on_existing_tag] if options.on_existing_tag != "overwrite" else []
    words += ["--referrers", options.referrers] if options.referrers != "all" else []
    words += ["--spool", str(options.spool)] if options.spool not in (None, Path()) else []
    return words + _registry_flags(options.environment.destinations)


def _mirror_copy_flags(options: MirrorOptions, failed: Path) -> list[str]:
    """Return the flags of a mirror of the failed images that differ from the defaults."""
    words = _lists("mirror", failed)
    words += [] if tuple(options.architectures) == ("amd64", "arm64") else ["-a", ",".join(options.architectures)]
    words += [] if tuple(options.systems) == ("linux", "windows") else ["--os", ",".join(options.systems) or "all"]
    words += ["-s", options.source] if options.source else []
    words += ["-d", options.destination] if options.destination else []
    words += ["--to", options.template] if options.template is not None else []
    words += _job_flags(options.limits)
    words += ["--index", options.index] if options.index != "auto" else []
    words += ["--overwrite", options.overwrite] if options.overwrite != "moved" else []
    words += _project_flags(options)
    words += ["--include-foreign"] if options.include_foreign else []
    words += ["--verify-bytes"] if options.verify_bytes else []
    words += ["--recheck"] if options.recheck else []
    words += ["--state", str(options.state)] if options.state is not None else []
    settings = options.environment.registries
    return words + _registry_flags(settings) + _mirror_flags(settings)


def _project_flags(options: LoadOptions | MirrorOptions) -> list[str]:
    """Return the flags of the names at a registry that differ from the defaults."""
    words = ["--default-project", options.default_project] if options.default_project != "library" else []
    if (creation := options.creation("")) is not None:
        words += ["--repo-type", creation.kind]
        words += ["--harbor-https=false"] if not creation.https else []
        words += ["--harbor-public"] if creation.public else []
        words += ["--ecr-immutable-tags"] if creation.immutable_tags else []
        words += ["--ecr-lifecycle", str(creation.lifecycle)] if creation.lifecycle is not None else []
    return words + (["--platform-tags"] if options.platform_tags else [])
