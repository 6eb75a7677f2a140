"""A disk that is full at one chosen operation."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hangar_async.errors import StorageError
from hangar_async.store.disk import Disk

_WATCHED = {"make_directory", "create", "write", "truncate", "close", "rename", "write_file", "link", "sync"}


class FaultyDisk(Disk):
    """Counts the operations after `start`, and fails the one of number `fail_at`."""

    def __init__(self) -> None:
        self.count = 0
        self._fail_at: int | None = None

    def start(self, fail_at: int | None = None) -> None:
        self.count = 0
        self._fail_at = fail_at

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in _WATCHED:
            return found
        return self._watch(found)

    def _watch(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **keywords: Any) -> Any:
            number, self.count = self.count, self.count + 1
            if number == self._fail_at:
                if operation.__name__ == "close":
                    operation(*arguments, **keywords)  # a failed close closes all the same
                path = next(item for item in arguments if isinstance(item, Path))
                raise StorageError.of(OSError(errno.ENOSPC, "No space left on device"), path)
            return operation(*arguments, **keywords)

        return watched
