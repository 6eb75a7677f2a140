"""`report merge`: the reports of several runs into one, and one list of what failed in all of them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hangar_async.config.options import MergeReportsOptions
from hangar_async.engine.events import Notice, Observer, ignore
from hangar_async.engine.outputs import check_failed_list, check_outputs, check_report, told_disk, write_failed_list
from hangar_async.engine.reporting.joining import failed_lines, join_reports
from hangar_async.engine.reporting.journal import write_report
from hangar_async.engine.reporting.records import VERSION, MergedReports, ReportDocument
from hangar_async.engine.reporting.secrets import plain
from hangar_async.errors import UsageError
from hangar_async.filesystem import read_bounded
from hangar_async.threads import in_thread

#: The most bytes of a report.
_LARGEST = 512 << 20


class _Form(msgspec.Struct):
    version: int


async def merge_reports(options: MergeReportsOptions, observer: Observer = ignore) -> MergedReports:
    """Join reports of runs into one, and write it; the images that failed in all of them are a list again.

    Raises UsageError for a file that is no report, or an output that cannot be, and StorageError.
    """
    reports, failed, target = list(options.reports), options.failed, options.report
    if isinstance(target, Path):
        target = await in_thread(check_report, target, reports, "-o")
    await in_thread(check_outputs, [failed], [*reports, target])
    failed = await in_thread(check_failed_list, failed, "--failed")
    document = join_reports([await in_thread(_read, path) for path in reports])
    with told_disk(lambda text: observer(Notice(text))) as disk:
        lines = failed_lines(document)
        written = await write_failed_list(failed, lines, lambda text: observer(Notice(text)), disk)
        document = msgspec.structs.replace(document, failed_list=None if written is None else plain(written))
        await write_report(target, document, disk)
    return MergedReports(document, written)


def _read(path: Path) -> ReportDocument:
    """Read a report; raises UsageError."""
    try:
        data = read_bounded(path, _LARGEST)
        version = msgspec.json.decode(data, type=_Form).version
        if version > VERSION:
            raise UsageError(f"{path} is of version {version}, which this program does not know: use a later one")
        return msgspec.json.decode(data, type=ReportDocument)
    except OSError as error:
        raise UsageError(f"cannot read the report {path}: {error.strerror}") from error
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} is no report: {error}") from error
