"""What is said of an event in one line, by every view that has lines."""

from __future__ import annotations

from dataclasses import dataclass

from hangar_async.cli.view.text import clock_text, count_text, duration_text, error_text, one_line, size_text
from hangar_async.engine import events
from hangar_async.engine.events import Event
from hangar_async.engine.reports import ImageOutcome


@dataclass(frozen=True, slots=True)
class Line:
    """What is said of an event: a word, and a text that is safe on a terminal."""

    word: str
    text: str

    @property
    def wrong(self) -> bool:
        """Whether something is not as it should be."""
        return self.word in ("warning", "failed")

    def __str__(self) -> str:
        return f"{self.word:<8} {self.text}"


def line_of(event: Event, *, advice: bool = False) -> Line | None:
    """Say what happened, with what to do about it where wanted; None for what is too small or too large for a line."""
    match event:
        case events.RunStarted(images, jobs):
            requests = f", {count_text(jobs, 'request')} at once" if jobs else ""
            return Line("start", f"{count_text(images, 'image')}{requests}")
        case events.CheckStarted(size):
            return Line("start", f"{size_text(size)} to be read and checked")
        case events.Notice(text):
            return Line("warning", one_line(text))
        case events.ImagePlanned(name, platforms, blobs, size):
            new = f"{count_text(blobs, 'blob')}, {size_text(size)}" if blobs else "nothing new"
            return Line("planned", f"{name}: {count_text(platforms, 'platform')}, {new}")
        case events.Retrying(what, why, wait, attempt):
            return Line("retry", one_line(f"{what} in {wait:.1f} s, try {attempt} failed: {why}"))
        case events.HostClosed(host, why, seconds):
            return Line("wait", one_line(f"{host}: asked again in {clock_text(seconds)}: {why}"))
        case events.QuotaReported(host, remaining, limit, window):
            within = f" within {duration_text(window)}" if window else ""
            return Line("quota", one_line(f"{host}: {remaining:,} of {limit:,} requests{within} are left"))
        case events.ImageEnded(outcome):
            return _ended(outcome, advice)
        case events.Committing(path):
            return Line("finish", one_line(f"syncing {path} and putting it in place"))
        case _:
            return None


def _ended(outcome: ImageOutcome, advice: bool) -> Line:
    name = str(outcome.entry.reference)
    if outcome.error is not None:
        why = error_text(outcome.error) if advice else one_line(str(outcome.error))
        return Line("failed", f"{name}: {outcome.error.reason}: {why}")
    if outcome.same_as is not None:
        return Line("done", f"{name}: the same image as line {outcome.same_as.line}")
    return Line("done", name)
