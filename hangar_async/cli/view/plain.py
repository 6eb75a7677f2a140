"""Lines with times, for pipes, logs and CI."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from hangar_async.cli.view.lines import Line, line_of
from hangar_async.cli.view.tally import Rate, Tally
from hangar_async.cli.view.text import PROGRAM, size_text
from hangar_async.engine.events import BlobProgress, Checked, Event, QuotaReported

#: Seconds between two lines of progress, at least.
INTERVAL = 10.0


class PlainView:
    """Writes one line for what begins and ends, and a line of progress now and then.

    `quiet` leaves only what is wrong. `clock` counts seconds, `wall` tells the time of day.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], time.struct_time] = time.localtime,
    ) -> None:
        self._stream = stream
        self._quiet = quiet
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
        self._tally(event)
        if self._closed:
            return
        line = None if type(event) in (BlobProgress, Checked) else line_of(event, advice=self._quiet)
        if isinstance(event, QuotaReported) and not self._is_news(event):
            line = None
        if line is not None and (line.wrong or not self._quiet):
            self._write(line)
        if not self._quiet and self._clock() >= self._due:
            self._write(self._progress())

    def _is_news(self, quota: QuotaReported) -> bool:
        """Whether a quota is worth a line: the first time, and when little is left of it."""
        level = quota.remaining * 10 <= quota.limit
        news = self._quotas.get(quota.host) != level
        self._quotas[quota.host] = level
        return news

    def say(self, text: str) -> None:
        """Show a line that is no event."""
        self._put(f"{PROGRAM}: {text}")

    def close(self) -> None:
        """Write nothing more but what is said."""
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
            # Nobody reads any more: no reason to stop the work.
            self._closed = True
