"""`save` through the library, without any sync.

python -m benchmarks.programs.save LIST DESTINATION gzip|zstd|dir JOBS
"""

from __future__ import annotations

import sys
from pathlib import Path

from hangar_async.cli.loop import run_until_done
from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions
from hangar_async.engine.save import save


def main() -> None:
    images, destination, kind, jobs = sys.argv[1:]
    options = SaveOptions(
        images=Path(images),
        destination=Path(destination),
        cache=Path("saved-image-cache"),
        format=kind,
        jobs=int(jobs),
        failed=None,
        environment=Environment.read(),
        sync=False,
    )
    sys.exit(run_until_done(lambda: save(options), print, "").status)


if __name__ == "__main__":
    main()
