"""The archive stage alone: the blobs of a corpus into an archive, which is on the disk in the end.

    python -m benchmarks.programs.archive CORPUS_JSON TARGET SECONDS_FILE gzip|zstd [sha256|none]

The last word is that of `--checksum`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from hangar_async.archive.write.writer import ArchiveWriter
from hangar_async.layout.files import CACHE_NAME, blob_name
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest


def main() -> None:
    told, target, seconds = map(Path, sys.argv[1:4])
    kind, checksum = sys.argv[4:]
    began = time.monotonic()
    with ArchiveWriter(target, kind, checksum=checksum) as writer:
        for blob in json.loads(told.read_text())["blobs"]:
            digest = Digest.parse(blob["digest"])
            writer.add_file(
                f"{CACHE_NAME}/{blob_name(digest)}",
                told.parent / "blobs" / digest.hex,
                blob["size"],
                digest=digest,
                compressed=media_types.is_compressed(blob["mediaType"]),
            )
        writer.commit()
    seconds.write_text(str(time.monotonic() - began))


if __name__ == "__main__":
    main()
