"""Lines with times, for pipes, logs and CI."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TextIO

from hangar_async.cli.view.tally import Rate, Tally
from hangar_async.cli.view.text import PROGRAM, clock_text, count_text, error_text, one_line, quota_text, size_text
from hangar_async.engine import events
from hangar_async.engine.events import BlobProgress, Checked, Event, QuotaReported
from hangar_async.engine.reports import ImageOutcome, LoadOutcome, MirrorOutcome, Outcome


@dataclass(frozen=True, slots=True)
class Line:
    """The line of an event: a word, and a text that is safe on a terminal."""

    word: str
    text: str

    @property
    def wrong(self) -> bool:
        """True when it is about a problem."""
        return self.word in ("warning", "failed")

    def __str__(self) -> str:
        return f"{self.word:<8} {self.text}"


def line_of(event: Event, *, advice: bool = False) -> Line | None:
    """Make the line of an event, with advice on failures on request; None for an event without a line."""
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
        case events.Retrying(request, reason, wait, attempt):
            # A try that has gained bytes is none of those that are counted.
            failed = f"try {attempt} failed: {reason}" if attempt else f"it broke off on its way: {reason}"
            return Line("retry", one_line(f"{request} in {wait:.1f} s, {failed}"))
        case events.HostClosed(host, reason, seconds):
            return Line("wait", one_line(f"{host}: asked again in {clock_text(seconds)}: {reason}"))
        case events.HostUnreachable(host, reason, longest):
            return Line(
                "wait",
                one_line(f"{host} gives no answer, and is asked again for up to {clock_text(longest)}: {reason}"),
            )
        case events.QuotaReported():
            return Line("quota", quota_text(event))
        case events.ImageEnded(outcome):
            return _ended(outcome, advice)
        case events.Reloaded(name):
            return Line("reload", f"{name} were read again, and are in use")
        case events.Committing(path):
            doing = "writing the end" if path == "-" else f"syncing {path} and putting it in place"
            return Line("finish", one_line(doing))
        case _:
            return _of_job(event)


def _of_job(event: Event) -> Line | None:
    match event:
        case events.JobScheduled(job, start, passed):
            late = f"; {count_text(passed, 'start')} passed over" if passed else ""
            return Line("next", f"job {job} at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(start))}{late}")
        case events.JobStarted(job):
            return Line("job", f"{job} begins")
        case events.JobEnded(job, status, error) if error:
            return Line("failed", one_line(f"job {job}: status {status}: {error}"))
        case events.JobEnded(job, status):
            return Line("job", f"{job} has ended with status {status}")
        case _:
            return None


def _ended(outcome: Outcome, advice: bool) -> Line:
    name = outcome.name
    if outcome.error is not None:
        text = error_text(outcome.error) if advice else one_line(str(outcome.error))
        return Line("failed", f"{name}: {outcome.error.reason}: {text}")
    if isinstance(outcome, ImageOutcome | MirrorOutcome) and outcome.same_as is not None:
        return Line("done", f"{name}: the same image as line {outcome.same_as.line}")
    return Line("done", name)


def note_lines(event: Event) -> Iterator[Line]:
    """Make a line of each note about an image that has ended."""
    if not isinstance(event, events.ImageEnded):
        return
    outcome, notes = event.outcome, tuple[str, ...]()
    if isinstance(outcome, ImageOutcome):
        notes = outcome.notes
    elif isinstance(outcome, LoadOutcome | MirrorOutcome) and outcome.note:
        notes = (outcome.note,)
    for note in notes:
        yield Line("note", one_line(f"{outcome.name}: {note}"))


#: Seconds between two lines of progress, at least.
INTERVAL = 10.0


class PlainView:
    """Writes one line for each begin and end, and a line of progress from time to time.

    `quiet` leaves only problems, `verbose` adds the notes of each image. `clock` counts seconds, `wall` tells the time
    of day.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        quiet: bool = False,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], time.struct_time] = time.localtime,
    ) -> None:
        self._stream = stream
        self._quiet = quiet
        self._verbose = verbose
        self._clock = clock
        self._wall = wall
        self._tally = Tally()
        self._rate = Rate()
        self._rate.per_second(clock(), 0)
        self._due = clock() + INTERVAL
        self._closed = False
        self._quotas: dict[str, bool] = {}

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, events.JobStarted):
            # A run for years: each job has its own sums.
            self._tally = Tally()
        self._tally(event)
        if self._closed:
            return
        line = None if type(event) in (BlobProgress, Checked) else line_of(event, advice=self._quiet)
        if isinstance(event, QuotaReported) and not self._is_news(event):
            line = None
        if line is not None and (line.wrong or not self._quiet):
            self._write(line)
        for note in note_lines(event) if self._verbose else ():
            self._write(note)
        if not self._quiet and self._clock() >= self._due:
            self._write(self._progress())

    def _is_news(self, quota: QuotaReported) -> bool:
        """Tell whether a quota is shown: the first time, and when less than a tenth of it is left."""
        level = quota.remaining * 10 <= quota.limit
        news = self._quotas.get(quota.host) != level
        self._quotas[quota.host] = level
        return news

    def say(self, text: str) -> None:
        """Show a line that is no event."""
        self._put(f"{PROGRAM}: {text}")

    def close(self) -> None:
        """Write nothing more but the lines of `say`."""
        self._closed = True

    def _progress(self) -> Line:
        now, tally = self._clock(), self._tally
        self._due = now + INTERVAL
        rate = f"{size_text(int(self._rate.per_second(now, tally.fetched_bytes + tally.checked)))}/s"
        if not tally.images:
            total = f" of {size_text(tally.to_check)}" if tally.to_check else " checked"
            return Line("progress", f"{size_text(tally.checked)}{total}, {rate}")
        text = f"{tally.done + tally.failed}/{tally.images} images, "
        if tally.jobs:
            known = "" if tally.all_planned else "at least "
            text += f"{size_text(tally.arrived_bytes)} of {known}{size_text(tally.planned_bytes)}, {rate}"
        else:
            text += f"{size_text(tally.checked)} checked, {rate}"
        if tally.archive_bytes:
            text += f", archive {size_text(tally.archive_bytes)}"
        return Line("progress", text)

    def _write(self, line: Line) -> None:
        self._put(str(line) if self._quiet else f"{time.strftime('%H:%M:%S', self._wall())} {line}")

    def _put(self, text: str) -> None:
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except (OSError, ValueError):
            # The reader has closed the stream: the work goes on.
            self._closed = True
