"""Choose some of 100,000 tags; the processor seconds go into a file.

python -m benchmarks.programs.tags SECONDS_FILE
"""

from __future__ import annotations

import gc
import sys
import time
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

from hangar_async.tags.patterns import Patterns
from hangar_async.tags.rules import TagRules, select
from hangar_async.tags.version import VersionRange

_RULES = TagRules(
    match=Patterns.parse(["v*", "latest*"]),
    version=VersionRange.parse(">=1.2 <9"),
    variants=Patterns.parse(["", "alpine*"], empty=True),
    exclude=Patterns.parse(["*-debug", "*.13*"]),
    newest=2,
    per="minor",
    also=("v1.0.0",),
)


def main() -> None:
    # As the command line sets it.
    gc.set_threshold(10_000, 20, 50)
    ends = ("", "-alpine", "-rc1", "-alpine3.20")
    tags = [f"v{a}.{b}.{c}{end}" for end, c, b, a in product(ends, range(50), range(50), range(10))]
    began = time.process_time()
    select(_RULES, tags, datetime.now(UTC))
    Path(sys.argv[1]).write_text(str(time.process_time() - began))


if __name__ == "__main__":
    main()
