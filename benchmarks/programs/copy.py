"""A read/write loop: the files of a corpus, one after the other into one file, and one fsync at the end.

python -m benchmarks.programs.copy CORPUS_JSON TARGET SECONDS_FILE [hash]

With `hash`, the written bytes are hashed too, as for a file of checksums.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

_PIECE = 1 << 20


def main() -> None:
    told, target, seconds, *hashed = sys.argv[1:]
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        _copy(Path(told), target, pool if hashed else None)
    Path(seconds).write_text(str(time.monotonic() - began))


def _copy(told: Path, target: str, pool: ThreadPoolExecutor | None) -> None:
    hasher = hashlib.sha256()
    buffers = [memoryview(bytearray(_PIECE)) for _ in range(2)]
    done: Future[None] | None = None
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    for blob in json.loads(told.read_text())["blobs"]:
        path = told.parent / "blobs" / blob["digest"].removeprefix("sha256:")
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffers[0]):
                if done is not None:
                    done.result()
                if pool is not None:
                    done = pool.submit(hasher.update, buffers[0][:count])
                os.write(descriptor, buffers[0][:count])
                buffers.reverse()
    os.fsync(descriptor)
    os.close(descriptor)


if __name__ == "__main__":
    main()
