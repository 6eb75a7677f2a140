"""The access log of a server, in the combined format that tools for logs of web servers read."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from hangar_async.cli.view.text import printable
from hangar_async.engine.events import Answered
from hangar_async.errors import StorageError


class AccessLines:
    """Writes a line for each request to a stream, or to the end of a file; `wall` tells the time of day.

    Raises StorageError where the file cannot be opened. A line that cannot be written later is left out.
    """

    def __init__(self, target: TextIO | Path, wall: Callable[[], time.struct_time] = time.localtime) -> None:
        self._path = target if isinstance(target, Path) else None
        self._wall = wall
        self._stream = self._open(target) if isinstance(target, Path) else target

    def write(self, event: Answered) -> None:
        """Write the line of a request."""
        moment = time.strftime("%d/%b/%Y:%H:%M:%S %z", self._wall())
        request = f'"{event.method} {_quoted(event.path)} HTTP/1.1"'
        line = (
            f'{event.client or "-"} - - [{moment}] {request} {event.status} {event.size} "-" "{_quoted(event.agent)}"'
        )
        try:
            self._stream.write(f"{line} {event.seconds:.3f}\n")
            self._stream.flush()
        except (OSError, ValueError):
            # A full disk, or a reader that has gone, is no reason to stop serving.
            return

    def reopen(self) -> None:
        """Open the file again, after a rotation of logs; the one that is open stays where that fails."""
        if self._path is None:
            return
        try:
            stream = self._open(self._path)
        except StorageError:
            return
        self.close()
        self._stream = stream

    def close(self) -> None:
        """Close the file; lines that a full disk has not taken are left out."""
        if self._path is not None:
            with suppress(OSError):
                self._stream.close()

    @staticmethod
    def _open(path: Path) -> TextIO:
        try:
            return path.open("a", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise StorageError.of(error, path) from error


def _quoted(text: str) -> str:
    return printable(text.replace("\\", "\\\\").replace('"', '\\"'))
