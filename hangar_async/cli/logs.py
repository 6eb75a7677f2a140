"""Log records on standard error, for `--debug`; the library itself only writes to its loggers."""

from __future__ import annotations

import logging
import sys
from typing import Any

from hangar_async.cli.text import printable


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(printable(line) for line in super().format(record).splitlines())


class _StandardError(logging.StreamHandler[Any]):
    """Writes to what is standard error at that moment: a live view puts lines above itself through it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def show_logs() -> None:
    """Show everything that the package logs."""
    handler = _StandardError(sys.stderr)
    handler.setFormatter(_Lines("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("hangar_async")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
