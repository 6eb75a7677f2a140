"""Check all of an archive.

python -m benchmarks.programs.verify ARCHIVE SECONDS_FILE
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from hangar_async.cli.loop import run_until_done
from hangar_async.config.options import VerifyOptions
from hangar_async.engine.verify import verify


def main() -> None:
    archive, seconds = Path(sys.argv[1]), Path(sys.argv[2])
    began = time.monotonic()
    verdict = run_until_done(lambda: verify(VerifyOptions(archive)), print, "")
    seconds.write_text(str(time.monotonic() - began))
    sys.exit(verdict.status)


if __name__ == "__main__":
    main()
