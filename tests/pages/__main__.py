"""Write into the pages of docs/ what the program says: `make pages`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.pages import flags, output

with tempfile.TemporaryDirectory() as home:
    for path in [*flags.write(), *output.write(Path(home))]:
        sys.stdout.write(f"{path.name}\n")
