"""`save` through the library, without any sync.

python -m benchmarks.programs.save LIST DESTINATION gzip|zstd|dir JOBS
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from hangar_async import SaveOptions, save


def main() -> None:
    images, destination, kind, jobs = sys.argv[1:]
    options = SaveOptions(
        images=Path(images), destination=Path(destination), format=kind, jobs=int(jobs), failed=None, sync=False
    )
    sys.exit(asyncio.run(save(options)).status)


if __name__ == "__main__":
    main()
