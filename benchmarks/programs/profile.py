"""The processor seconds of a `save`, by their purpose.

    python -m benchmarks.programs.profile LIST gzip|zstd JOBS JSON_FILE

Each kind of work is timed by the clock of the thread that does it; what is left over is Python between them.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hangar_async.archive import formats
from hangar_async.archive.write.codec import Input
from hangar_async.archive.write.parts import PartWriter
from hangar_async.cli.loop import run_until_done
from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions
from hangar_async.disk import Disk
from hangar_async.engine.save import save
from hangar_async.oci.digest import Digest, Hasher

_spent: Counter[str] = Counter()
_started = time.process_time()


def _timed(work: Callable[..., Any], name: str | Callable[[], str]) -> Callable[..., Any]:
    def timed(*arguments: Any, **keywords: Any) -> Any:
        began = time.thread_time()
        try:
            return work(*arguments, **keywords)
        finally:
            _spent[name if isinstance(name, str) else name()] += time.thread_time() - began  # type: ignore[assignment]

    return timed


class _TimedHasher:
    def __init__(self, hasher: Hasher) -> None:
        self.update = _timed(hasher.update, "hash of blobs")
        self.hexdigest = hasher.hexdigest


def _watch() -> None:
    original = Digest.hasher
    Digest.hasher = lambda self: _TimedHasher(original(self))  # type: ignore[method-assign]
    Input.read_into = _timed(Input.read_into, "archive read")  # type: ignore[method-assign]
    vars(formats)["crc32"] = _timed(formats.crc32, "CRC-32")
    PartWriter._hash = _timed(PartWriter._hash, "hash of the archive")  # type: ignore[method-assign]
    Disk.write = _timed(Disk.write, _written)  # type: ignore[method-assign]


def _written() -> str:
    return "archive write" if threading.current_thread().name == "archive-write" else "cache write"


def main() -> None:
    images, kind, jobs, told = sys.argv[1:]
    _watch()
    options = SaveOptions(
        images=Path(images),
        destination=Path("saved"),
        cache=Path("saved-image-cache"),
        format=kind,
        jobs=int(jobs),
        failed=None,
        environment=Environment.read(),
        sync=False,
    )
    began = time.thread_time()
    report = run_until_done(lambda: save(options), print, "")
    _spent["receive: event loop"] = time.thread_time() - began  # type: ignore[assignment]
    _spent["start of Python"] = _started  # type: ignore[assignment]
    _spent["rest"] = time.process_time() - sum(_spent.values())  # type: ignore[assignment]
    Path(told).write_text(json.dumps(_spent))
    sys.exit(report.status)


if __name__ == "__main__":
    main()
