"""The webhooks of a job file: told at the end of a run, with a few tries, and never in the way of the next run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.engine.jobs.report import JobsReport
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.reporting.hiding import shown
from hangar_async.errors import HangarError
from hangar_async.jobfile.jobs import JobFile, Webhook

#: The waits between the tries of a webhook, and the longest time for all of them, in seconds.
_PAUSES = (1.0, 5.0, 15.0)
_LONGEST = 60.0
#: The most images that a webhook is told of, those that failed first, and the most notices.
_MOST_IMAGES, _MOST_NOTICES = 100, 20
#: The failed images in the text.
_SHOWN = 3


@dataclass(slots=True)
class Notifier:
    """Tells the webhooks of a file what came of a run; `report` is set at its end."""

    options: MirrorJobsOptions
    file: JobFile
    clock: Clock
    notice: Callable[[str], None]
    started: datetime
    report: JobsReport | None = None

    async def tell(self, error: HangarError | None = None) -> None:
        """Tell the end of the run, which an error may have broken off."""
        moments = _moments(self.report, error)
        webhooks = [webhook for webhook in self.file.webhooks if webhook.when & moments]
        if not webhooks:
            return
        content = self._content(error)
        for webhook in webhooks:
            await self._send(webhook, content)

    def _content(self, error: HangarError | None) -> bytes:
        jobs = self.options.only or [job.name for job in self.file.jobs]
        body = {
            "text": self.options.hidden(f"hangar-async: {', '.join(jobs)}: {_text(self.report, error)}"),
            "jobs": [*jobs],
            "status": self.report.status if self.report is not None else None,
            "report": None if self.report is None else msgspec.Raw(self._document(self.report).encode()),
        }
        return msgspec.json.encode(body)

    def _document(self, report: JobsReport) -> str:
        from hangar_async.engine.reporting.document import report_document

        document = report_document("mirror", report.whole, self.options, self.started)
        images = sorted(document.images, key=lambda image: image.status != "failed")
        told = [image for image in images if image.status in ("failed", "done")][:_MOST_IMAGES]
        document = msgspec.structs.replace(document, images=told, notices=document.notices[:_MOST_NOTICES])
        # In its texts alone, so that it stays JSON.
        return str(shown(document, self.options.hidden))

    async def _send(self, webhook: Webhook, content: bytes) -> None:
        """Send a webhook, again after a failure that may pass; one that is given up is a notice without its address."""
        from hangar_async.registry.webhook import post_webhook

        reason = "it took too long"
        try:
            async with asyncio.timeout(_LONGEST):
                for pause in (*_PAUSES, None):
                    try:
                        status = await post_webhook(self.options.environment.registries, webhook.address, content)
                    except HangarError as error:
                        # Its text may name the host.
                        reason = f"{error.reason}: it was not reached"
                    else:
                        if status < 300:
                            return
                        reason = f"status {status}"
                        if status < 500 and status not in (408, 425, 429):
                            break
                    if pause is not None:
                        await self.clock.sleep(pause)
        except TimeoutError:
            pass
        self.notice(f"the webhook in line {webhook.place.line} of {self.file.name} was not told: {reason}")


@asynccontextmanager
async def notified(
    options: MirrorJobsOptions, file: JobFile, clock: Clock, notice: Callable[[str], None]
) -> AsyncIterator[Notifier]:
    """Tell the webhooks of a file what came of the block; nothing of a dry run, or of one that was cancelled."""
    notifier = Notifier(options, file, clock, notice, datetime.now(UTC))
    try:
        yield notifier
    except HangarError as error:
        if not options.is_dry:
            await notifier.tell(error)
        raise
    if not options.is_dry:
        await notifier.tell()


def _moments(report: JobsReport | None, error: HangarError | None) -> set[str]:
    """Return the words for what came of a run."""
    moments = {"always"}
    if error is not None or (report is not None and report.status != 0):
        moments.add("failed")
    if report is not None and any(outcome.state == "copied" for outcome in report.whole.outcomes):
        moments.add("copied")
    if report is not None and any(tag.state == "deleted" for job in report.jobs for tag in job.pruned):
        moments.add("pruned")
    return moments


def _text(report: JobsReport | None, error: HangarError | None) -> str:
    """Say in a line what came of a run."""
    if report is None:
        return f"broke off: {error}" if error is not None else "broke off"
    outcomes = report.whole.outcomes
    counts = Counter(outcome.state for outcome in outcomes)
    words = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())) or "no image"
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    named = "; ".join(f"{one.name}: {one.error}" for one in failed[:_SHOWN])
    more = "; ..." if len(failed) > _SHOWN else ""
    return f"{words} ({named}{more})" if failed else words
