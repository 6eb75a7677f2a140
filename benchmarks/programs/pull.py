"""Download and verification alone: the blobs of a corpus, 4 at a time, into a store or into nothing.

    python -m benchmarks.programs.pull CORPUS_JSON HOST:PORT SECONDS_FILE [STORE]

The seconds between the first request and the last byte, without the start of the interpreter, go into SECONDS_FILE.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from hangar_async.cli.loop import run_until_done
from hangar_async.config.registries import RegistrySettings
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.store.content import ContentStore, open_store
from hangar_async.threads import in_thread

_JOBS = 4
_Wanted = tuple[Reference, Descriptor]


async def _hash(client: RegistryClient, wanted: Iterator[_Wanted]) -> None:
    for image, blob in wanted:
        hasher = blob.digest.hasher()
        async with client.open_blob(image, blob) as body:
            async for piece in body.pieces():
                await in_thread(hasher.update, piece)
        if hasher.hexdigest() != blob.digest.hex:
            raise SystemExit(f"{blob.digest} is wrong")


async def _keep(client: RegistryClient, wanted: Iterator[_Wanted], store: ContentStore) -> None:
    for image, blob in wanted:
        async with store.ingest(blob.digest, blob.size) as ingest, client.open_blob(image, blob) as body:
            async for piece in body.pieces():
                await ingest.write(piece)
            await ingest.commit()


async def _pull(blobs: list[_Wanted], store: Path | None) -> float:
    wanted = iter(blobs)
    began = time.monotonic()
    async with RegistryClient(RegistrySettings(), connections=_JOBS) as client:
        if store is None:
            async with asyncio.TaskGroup() as group:
                for _ in range(_JOBS):
                    group.create_task(_hash(client, wanted))
        else:
            async with open_store(store) as opened, asyncio.TaskGroup() as group:
                for _ in range(_JOBS):
                    group.create_task(_keep(client, wanted, opened))
    return time.monotonic() - began


def main() -> None:
    told, registry, seconds, *store = sys.argv[1:]
    blobs = [
        (
            Reference.parse(f"{registry}/{blob['repository']}"),
            Descriptor(blob["mediaType"], Digest.parse(blob["digest"]), blob["size"]),
        )
        for blob in json.loads(Path(told).read_text())["blobs"]
    ]
    taken = run_until_done(lambda: _pull(blobs, Path(store[0]) if store else None), print, "")
    Path(seconds).write_text(str(taken))


if __name__ == "__main__":
    main()
