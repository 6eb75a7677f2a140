"""`load` through the library.

python -m benchmarks.programs.load ARCHIVE ADDRESS_FILE JOBS SECONDS_FILE
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from hangar_async.cli.loop import run_until_done
from hangar_async.config.target_options import LoadOptions
from hangar_async.engine.load import load


def main() -> None:
    archive, address, jobs, seconds = sys.argv[1:]
    host = Path(address).read_text()
    options = LoadOptions(source=Path(archive), destination=host, jobs=int(jobs), failed=None)
    began = time.monotonic()
    report = run_until_done(lambda: load(options), print, "")
    Path(seconds).write_text(str(time.monotonic() - began))
    sys.exit(report.status)


if __name__ == "__main__":
    main()
