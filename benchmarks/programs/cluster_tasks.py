"""Copies of images by a cluster in this process whose worker does nothing: the tasks alone.

python -m benchmarks.programs.cluster_tasks IMAGES
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from hangar_async.config.cluster import ClusterSettings
from hangar_async.config.target_options import MirrorOptions
from hangar_async.engine.cluster.connect import cluster_executor
from hangar_async.engine.cluster.messages import BlobTask, Holder, ImageResult, Taken, decode, encode
from hangar_async.engine.cluster.worker import MirrorWorker
from hangar_async.engine.copy.executor import PlannedCopy
from hangar_async.engine.copy.sides import Sides
from hangar_async.engine.events import ignore
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.reports import LoadOutcome
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Image, Reference, media_types, parse_manifest
from hangar_async.state.hints import NO_STATE
from hangar_async.tasks import each

_SOURCE, _TARGET = "source.example.com", "target.example.com"


async def _do_nothing(_: MirrorWorker, payload: bytes, holders: Sequence[Holder]) -> Any:
    task = decode(payload)
    if isinstance(task, BlobTask):
        return task.target.repository, True
    outcome = LoadOutcome(task.work.plan.image.without_contents(), task.work.target, "pushed")
    return encode(ImageResult(outcome, None, tuple(holders), Taken()))


def _planned(number: int) -> PlannedCopy:
    digest = f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}"
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": 1000}
    fields = {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "config": config, "layers": []}
    document = parse_manifest(json.dumps(fields).encode(), media_types.OCI_MANIFEST)
    source, target = (Reference(registry, f"app-{number}", "1") for registry in (_SOURCE, _TARGET))
    contents = (document.descriptor, *document.blobs)
    plan: Any = SimpleNamespace(image=Image(source, document.descriptor, (), contents, {document.digest: document}))
    return PlannedCopy(source, target, number, plan)


async def _run(count: int) -> None:
    MirrorWorker.carry_out = _do_nothing  # type: ignore[assignment,method-assign]
    options = MirrorOptions(images=["app"], destination=_TARGET, jobs=20)
    works = [_planned(number) for number in range(count)]
    entries = [MirrorEntry(1, "", works[0].source, works[0].target)]
    async with Sides.opened(options, entries, ignore, print, Clock(), NO_STATE, push=True) as sides:
        for work in works:
            sides.targets[_TARGET].blobs.note_new(work.target.repository, is_new=True)
        cluster = ClusterSettings("local")
        async with cluster_executor(cluster, options, entries, sides, ignore, print, Clock()) as executor:
            await each(works, executor.copy, executor.images_at_once)


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1])))
