"""Helpers of this room's tests."""

from __future__ import annotations

import random
from pathlib import Path

from hangar_async.engine.serving.buffers import LARGE
from hangar_async.layout.files import blob_name
from hangar_async.oci.digest import Digest

SHORT = bytes(range(256)) * 4
SHORT_DIGEST = Digest.of(SHORT)
DATA = random.Random(1).randbytes(3 * LARGE + 12_345)


def put(reader_directory: Path, data: bytes, digest: Digest | None = None) -> Path:
    path = reader_directory / blob_name(digest or Digest.of(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
