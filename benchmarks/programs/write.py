"""The speed of the disk: write bytes to files and sync them.

python -m benchmarks.programs.write BYTES FILE...
"""

from __future__ import annotations

import os
import sys

_PIECE = 4 << 20


def main() -> None:
    # Nothing that a disk could make smaller.
    piece = memoryview(os.urandom(_PIECE))
    for name in sys.argv[2:]:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        left = int(sys.argv[1])
        while left > 0:
            left -= os.write(descriptor, piece[:left])
        os.fsync(descriptor)
        os.close(descriptor)


if __name__ == "__main__":
    main()
