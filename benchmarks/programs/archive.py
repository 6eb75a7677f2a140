"""The archive stage alone, without a sync: the blobs of a corpus into an archive.

    python -m benchmarks.programs.archive CORPUS_JSON TARGET SECONDS_FILE gzip|zstd [unhashed]

`unhashed` leaves out the SHA-256 of the parts and its file, as `--checksum none` does.
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
    told, target, seconds, kind, *unhashed = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:]
    began = time.monotonic()
    with ArchiveWriter(target, kind, sync=False, checksum="none" if unhashed else "sha256") as writer:
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
