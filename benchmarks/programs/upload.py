"""Uploads alone: the blobs of a corpus, 4 at a time, into one repository.

    python -m benchmarks.programs.upload CORPUS_JSON HOST:PORT REPOSITORY SECONDS_FILE

The seconds between the first request and the last answer, without the start of the interpreter, go into SECONDS_FILE.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from hangar_async.cli.loop import run_until_done
from hangar_async.config.registries import RegistrySettings
from hangar_async.oci.digest import Digest
from hangar_async.oci.integrity import OpenPieces
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.threads import in_thread

_JOBS = 4
_PIECE = 1 << 20


def _source(path: Path) -> OpenPieces:
    async def pieces(offset: int) -> AsyncIterator[memoryview]:
        descriptor = await in_thread(os.open, path, os.O_RDONLY)
        try:
            buffer = memoryview(bytearray(_PIECE))
            while count := await in_thread(os.preadv, descriptor, [buffer], offset):
                offset += count
                yield buffer[:count]
        finally:
            os.close(descriptor)

    return pieces


async def _work(client: RegistryClient, image: Reference, blobs: Iterator[tuple[Descriptor, Path]]) -> None:
    for blob, path in blobs:
        async with client.upload(image, blob) as upload:
            await upload.send(_source(path))


async def _upload(image: Reference, blobs: list[tuple[Descriptor, Path]]) -> float:
    wanted = iter(blobs)
    began = time.monotonic()
    async with RegistryClient(RegistrySettings(), connections=_JOBS) as client, asyncio.TaskGroup() as group:
        for _ in range(_JOBS):
            group.create_task(_work(client, image, wanted))
    return time.monotonic() - began


def main() -> None:
    told, registry, repository, seconds = sys.argv[1:]
    folder = Path(told).parent / "blobs"
    blobs = [
        (Descriptor(blob["mediaType"], Digest.parse(blob["digest"]), blob["size"]), folder / blob["digest"][7:])
        for blob in json.loads(Path(told).read_text())["blobs"]
    ]
    taken = run_until_done(lambda: _upload(Reference(registry, repository), blobs), print, "")
    Path(seconds).write_text(str(taken))


if __name__ == "__main__":
    main()
