"""A disk that is full at one chosen operation."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hangar_async.archive.files import Files
from hangar_async.errors import StorageError

_WATCHED = frozenset({"create", "write", "sync", "close", "rename", "keep", "sync_directory", "names", "hold", "seize"})


class FaultyFiles(Files):
    """Counts the operations, from several threads, and fails the one of number `fail_at`."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.count = 0
        self.failed = ""
        self._fail_at = fail_at
        self._guard = threading.Lock()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return self._watch(name, found) if name in _WATCHED else found

    def _watch(self, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            with self._guard:
                number, self.count = self.count, self.count + 1
            if number != self._fail_at:
                return operation(*arguments)
            self.failed = name
            if name == "close":
                operation(*arguments)  # a failed close closes all the same
            if name == "write":
                descriptor, data, _ = arguments
                os.write(descriptor, data[: len(data) // 2])
            path = next(item for item in arguments if isinstance(item, Path))
            raise StorageError.of(OSError(errno.ENOSPC, "No space left on device"), path, name)

        return watched
