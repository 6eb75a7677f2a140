"""A disk that fails one chosen operation."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiofiles
import pytest

from hangar_async.disk import Disk
from hangar_async.errors import StorageError

#: What changes something, or waits until it is on the disk.
OPERATIONS = frozenset(
    {"make_directory", "create", "write", "truncate", "sync_file", "close", "sync", "rename", "keep", "link", "names"}
    | {"hold", "seize", "lock"}
)


class FaultyDisk(Disk):
    """Counts the operations, from several threads, and fails the one of number `fail_at` since the `start`.

    `code` is what the system says. `failed` names the operation that failed. A failed write writes half of it.
    """

    def __init__(self, fail_at: int | None = None, code: int = errno.ENOSPC) -> None:
        self.code = code
        self._guard = threading.Lock()
        self.start(fail_at)

    def start(self, fail_at: int | None = None) -> None:
        """Begin to count again."""
        self.count = 0
        self.failed = ""
        self._fail_at = fail_at

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return self._watch(name, found) if name in OPERATIONS else found

    def _watch(self, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **keywords: Any) -> Any:
            with self._guard:
                number, self.count = self.count, self.count + 1
            if number != self._fail_at:
                return operation(*arguments, **keywords)
            self.failed = name
            if name == "close":
                operation(*arguments)  # a failed close closes all the same
            if name == "write":
                descriptor, data, _ = arguments
                self._write_half(descriptor, data)
            path = next(item for item in arguments if isinstance(item, Path))
            raise StorageError.of(OSError(self.code, os.strerror(self.code)), path, name)

        return watched

    def _write_half(self, descriptor: int, data: bytes | memoryview) -> None:
        view = memoryview(data)
        Disk.write(self, descriptor, view[: len(view) // 2], Path())


def forbid_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a credential file be one of another user, also for root."""
    opened = aiofiles.open

    def refuse(file: Path, *arguments: Any) -> Any:
        if file == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return opened(file, *arguments)

    monkeypatch.setattr(aiofiles, "open", refuse)
    return path
