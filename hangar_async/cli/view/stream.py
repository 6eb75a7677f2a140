"""A stream that is written beside the work, so that a reader who takes nothing holds up nothing."""

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from hangar_async.cli.view.json_lines import JsonStream

#: Texts that wait for the reader; those that come then are dropped.
LIMIT = 1_000
#: Seconds that a reader may take nothing at the end, before the rest is dropped.
PATIENCE = 3.0
_STEP = 0.05


class BackgroundStream:
    """Writes texts to `stream` in a thread, in order; a text that cannot be written is dropped without an error.

    `end` must be called. Without a thread, where the system starts none, `write` writes in the caller's thread.
    """

    def __init__(self, stream: TextIO, patience: float = PATIENCE) -> None:
        self.stream = stream
        self._patience = patience
        #: Hides secrets in each text.
        self.clean: Callable[[str], str] = lambda text: text
        self._queue: SimpleQueue[str | threading.Event | None] = SimpleQueue()
        self._dropped = 0
        #: The time since when one piece is being written.
        self._since = time.monotonic()
        self._has_thread = True
        try:
            threading.Thread(target=self._run, name="output", daemon=True).start()
        except RuntimeError:
            self._has_thread = False

    @property
    def encoding(self) -> str:
        """The encoding of the stream."""
        return self.stream.encoding

    def isatty(self) -> bool:
        """Tell whether the stream is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream; raises OSError where it has none."""
        return self.stream.fileno()

    def write(self, text: str) -> int:
        """Add a text; it is dropped where too many wait. Raises TypeError for bytes, as any stream of text."""
        length = str.__len__(text)
        self.put(self.clean(text))
        return length

    def put(self, text: str) -> None:
        """Add a text as it is; it is dropped where too many wait."""
        if not self._has_thread:
            self._write(text)
        elif self._queue.qsize() < LIMIT:
            self._queue.put(text)
        else:
            self._dropped += 1

    def flush(self) -> None:
        """Do nothing: each text is on its way; `drain` waits for it."""

    def drain(self) -> None:
        """Wait until all is written, or the reader has taken nothing for as long as the patience lasts."""
        if not self._has_thread:
            return
        reached = threading.Event()
        self._queue.put(reached)
        while not reached.wait(_STEP):
            if time.monotonic() - self._since >= self._patience:
                return

    def end(self) -> None:
        """Drain, and end the thread; a thread that is held up by the reader ends with the process."""
        self.drain()
        self._queue.put(None)

    def _run(self) -> None:
        item: str | threading.Event | None = ""
        while item is not None:
            item = self._queue.get()
            if isinstance(item, str):
                self._write(item)
                if self._queue.empty():
                    self._tell_dropped()
            else:
                self._tell_dropped()
            if isinstance(item, threading.Event):
                item.set()

    def _tell_dropped(self) -> None:
        count, self._dropped = self._dropped, 0
        if count:
            self._write(self.dropped_text(count))

    def dropped_text(self, count: int) -> str:
        """Return the line that says how many were dropped."""
        return f"({count:,} lines are left out here: they came faster than they were read)\n"

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            try:
                descriptor = self.stream.fileno()
            except (OSError, ValueError):
                self.stream.write(text)
                self.stream.flush()
                return
            # Past the buffer of the stream, whose lock a writer that is held up would keep at the end of the process.
            self._write_all(descriptor, text.encode(self.stream.encoding, "backslashreplace"))

    def _write_all(self, descriptor: int, data: bytes) -> None:
        while data:
            self._since = time.monotonic()
            data = data[_write_some(descriptor, data) :]


def _write_some(descriptor: int, data: bytes) -> int:
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            # Another process has made the stream non-blocking.
            waiting = select.poll()
            waiting.register(descriptor, select.POLLOUT)
            waiting.poll()


def in_background(stream: TextIO, *, as_json: bool = False) -> TextIO:
    """Return a background stream of a stream, of lines of JSON on request, as the type that all writers take."""
    if as_json:
        from hangar_async.cli.view.json_lines import JsonStream

        return cast("TextIO", JsonStream(stream))
    return cast("TextIO", BackgroundStream(stream))


def drain(stream: object) -> None:
    """Wait, with patience, until a background stream is written; any other is as it is."""
    if isinstance(stream, BackgroundStream):
        stream.drain()


def end(stream: object) -> None:
    """End a background stream; any other is as it is."""
    if isinstance(stream, BackgroundStream):
        stream.end()


def hide(stream: object, clean: Callable[[str], str]) -> None:
    """Have a background stream hide secrets in what it writes from now on; any other is as it is."""
    if isinstance(stream, BackgroundStream):
        stream.clean = clean


def json_stream() -> "JsonStream | None":
    """Return standard error where it is for lines of JSON."""
    stream: object = sys.stderr
    if not isinstance(stream, BackgroundStream) or type(stream) is BackgroundStream:
        return None
    return cast("JsonStream", stream)
