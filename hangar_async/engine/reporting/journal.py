"""The journal of a run, of which its report is written at the end, however it ends."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from hangar_async.archive.names import incomplete_path
from hangar_async.config.environment import NO_ENVIRONMENT
from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.config.options import FetchOptions, SaveOptions, VerifyOptions
from hangar_async.config.output import ReportTarget
from hangar_async.config.target_options import LoadOptions, MirrorOptions
from hangar_async.config.variables import NotedVariables
from hangar_async.disk import Disk
from hangar_async.engine import events
from hangar_async.engine.events import Event, Notice, Observer
from hangar_async.engine.outputs import check_report, state_files, told_disk
from hangar_async.engine.reports import AnyReport, Outcome
from hangar_async.errors import HangarError, StorageError, UsageError, the_error
from hangar_async.temporary import write_output
from hangar_async.threads import in_thread

if TYPE_CHECKING:
    from hangar_async.engine.reporting.records import End, ReportDocument

_R = TypeVar("_R", bound=AnyReport)
#: The options of the verbs that have a report.
ReportedOptions: TypeAlias = FetchOptions | LoadOptions | MirrorOptions | MirrorJobsOptions | VerifyOptions


class Journal:
    """Notes what a run has done so far; `observe` is the observer of the run."""

    def __init__(self, command: str, options: ReportedOptions, target: ReportTarget | None, observe: Observer) -> None:
        self.observe = observe if target is None else self._note
        self.has_begun = False
        self._command = command
        self._options = options
        self._target = target
        self._forward = observe
        self._started = datetime.now(UTC)
        self._began = time.monotonic()
        self._planned: Sequence[Outcome] = ()
        self._ended: list[Outcome] = []
        self._notices: list[str] = []
        self._transfers: Counter[str] = Counter()
        self._report: AnyReport | None = None

    def completed(self, report: _R) -> _R:
        """Note the report of the run, and return it."""
        self._report = report
        return report

    async def write(self, error: BaseException | None = None) -> None:
        """Write the report of the run, which an error has ended; raises StorageError."""
        if self._target is None:
            return
        document = self._document() if error is None else self._broken(error)
        variables = getattr(self._options, "environment", NO_ENVIRONMENT).variables
        if isinstance(variables, NotedVariables):
            from hangar_async.engine.reporting.hiding import shown

            document = shown(document, variables.hide)
        with told_disk(lambda text: self._forward(Notice(text))) as disk:
            await write_report(self._target, document, disk)

    def _note(self, event: Event) -> None:
        match event:
            case events.BlobProgress(_, gained):
                self._transfers["fetched_bytes"] += gained
            case events.BlobEnded(_, _, ok):
                self._transfers["fetched_blobs"] += ok
            case events.BlobReused(_, size):
                self._transfers.update(reused_blobs=1, reused_bytes=size)
            case events.ImageEnded(outcome):
                self._ended.append(outcome)
            case events.RunStarted():
                self.has_begun, self._planned = True, event.planned
            case events.CheckStarted():
                self.has_begun = True
            case Notice(text):
                self._notices.append(text)
        self._forward(event)

    def _document(self) -> ReportDocument:
        # Loaded here: few runs are reported.
        from msgspec.structs import replace

        from hangar_async.engine.reporting.document import report_document

        assert self._report is not None  # noqa: S101 - a verb that does not raise has a report
        document = report_document(self._command, self._report, self._options, self._started)
        return replace(document, seconds=round(time.monotonic() - self._began, 3))

    def _broken(self, error: BaseException) -> ReportDocument:
        """Make the document of a run that has not come to its end."""
        from msgspec.structs import replace

        from hangar_async.engine.reporting.document import make_document, not_reached, record_of

        end: End = "interrupted" if isinstance(error, asyncio.CancelledError) else "failed"
        ended = {record.key: record for record in map(record_of, self._ended)}
        planned = [record_of(outcome) for outcome in self._planned]
        return make_document(
            self._command,
            self._options,
            self._started,
            time.monotonic() - self._began,
            [
                replace(ended[record.key], text=record.text) if record.key in ended else not_reached(record)
                for record in planned
            ],
            self._transfers,
            end=end,
            error=None if end == "interrupted" else _cause(error),
            notices=self._notices,
        )


async def write_report(target: ReportTarget, document: ReportDocument, disk: Disk) -> None:
    """Write a report, or give it to the function that takes it; raises StorageError."""
    if callable(target):
        target(str(document))
        return
    try:
        await in_thread(write_output, target, f"{document}\n".encode(), disk)
    except StorageError as error:
        message = f"the report is not written: {error}"
        raise StorageError(message, path=str(target), advice=error.advice) from error


def _cause(error: BaseException) -> BaseException:
    try:
        return the_error(error)
    except BaseException as unexpected:
        while isinstance(unexpected, BaseExceptionGroup):
            unexpected = unexpected.exceptions[0]
        return unexpected


@asynccontextmanager
async def reported(command: str, options: ReportedOptions, observe: Observer) -> AsyncIterator[Journal]:
    """Check that a report can be written, and write it at the end of the block, also where the block raises.

    A wrong use that is found before the work begins has no report. Raises UsageError, and StorageError where the
    report cannot be written; of a run that has broken off, this is a notice.
    """
    journal = Journal(command, options, await check_reported(options), observe)
    try:
        yield journal
    except BaseException as error:
        if journal.has_begun or not isinstance(error, UsageError):
            try:
                await journal.write(error)
            except HangarError as failure:
                observe(Notice(str(failure)))
        raise
    await journal.write()


async def check_reported(options: ReportedOptions) -> ReportTarget | None:
    """Return where the report of a run goes; raises UsageError for a file that cannot be written."""
    target = options.report
    return await in_thread(check_report, target, list(_paths(options))) if isinstance(target, Path) else target


def _paths(options: ReportedOptions) -> Iterator[Path]:
    """Name the files and directories that a verb reads or writes."""
    values = [getattr(options, one.name) for one in fields(options) if one.name not in ("report", "spool")]
    yield from (value for value in values if isinstance(value, Path))
    yield from state_files(getattr(options, "state", None))
    if isinstance(options, SaveOptions):
        yield from (options.output.target, incomplete_path(options.output.target))
