"""Events as lines of JSON on standard error, for programs; nothing else is written there."""

import time
from collections.abc import Callable
from typing import TextIO

from hangar_async.cli.view.plain import INTERVAL
from hangar_async.cli.view.stream import BackgroundStream
from hangar_async.cli.view.tally import Tally
from hangar_async.engine.events import Event, JobStarted
from hangar_async.engine.reporting.hiding import shown
from hangar_async.engine.reporting.lines import (
    AnyLine,
    Dropped,
    Error,
    ImageEnded,
    JobEnded,
    Message,
    Notice,
    Progress,
    line_of,
    now,
)
from hangar_async.engine.reporting.secrets import without_secrets
from hangar_async.errors import HangarError


class JsonStream(BackgroundStream):
    """A background stream of lines of JSON; each line of text that is written to it becomes a message."""

    def __init__(self, stream: TextIO) -> None:
        self._rest = ""
        super().__init__(stream)

    def isatty(self) -> bool:
        """Return False: no program reads a screen."""
        return False

    def write(self, text: str) -> int:
        """Add text for people; it is sent when its line is whole."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._message(line)
        return len(text)

    def send(self, line: AnyLine) -> None:
        """Add a line of JSON; secrets are hidden in its texts alone, so that it stays JSON."""
        self.put(f"{shown(line, self.clean)}\n")

    def end(self) -> None:
        """Send the rest, drain, and end the thread."""
        self._message(self._rest)
        self._rest = ""
        super().end()

    def _message(self, text: str) -> None:
        if text.strip():
            self.send(Message(time=now(), text=without_secrets(text)))

    def dropped_text(self, count: int) -> str:
        """Return the line that says how many were dropped."""
        return f"{Dropped(time=now(), lines=count)}\n"


class JsonView:
    """Writes each event as a line, and a line of progress from time to time; `quiet` leaves warnings and failures."""

    def __init__(self, stream: JsonStream, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._quiet = quiet
        self._clock = clock
        self._tally = Tally()
        self._due = clock() + INTERVAL

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, JobStarted):
            self._tally = Tally()
        self._tally(event)
        line = line_of(event)
        if line is not None and (not self._quiet or _is_wrong(line)):
            self._stream.send(line)
        if not self._quiet and self._clock() >= self._due:
            self._due = self._clock() + INTERVAL
            self._stream.send(self._progress())

    def say(self, text: str) -> None:
        """Show a line that is no event."""
        self._stream.write(f"{text}\n")

    def close(self) -> None:
        """Do nothing: lines stay lines."""

    def _progress(self) -> Progress:
        tally = self._tally
        return Progress(
            time=now(),
            images=tally.images,
            done=tally.done,
            failed=tally.failed,
            bytes=tally.fetched_bytes,
            planned_bytes=tally.planned_bytes,
            checked_bytes=tally.checked,
            archive_bytes=tally.archive_bytes,
        )


def _is_wrong(line: AnyLine) -> bool:
    if isinstance(line, JobEnded):
        return bool(line.error)
    return isinstance(line, Notice) or (isinstance(line, ImageEnded) and line.image.status == "failed")


def error_line(text: str, status: int, error: HangarError | None) -> Error:
    """Make the line of the error that ends the command; `text` is that of an error that is not of this package."""
    if error is None:
        reason = "usage" if status == 2 else "unexpected"
        return Error(time=now(), reason=reason, message=without_secrets(text), advice="", status=status)
    message, advice = without_secrets(error), without_secrets(error.advice)
    return Error(time=now(), reason=error.reason, message=message, advice=advice, status=status)
