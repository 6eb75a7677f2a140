"""Whether a registry has what lies in an archive: at the far side after `load`, at the source after `save`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hangar_async.blocking import Interrupt
from hangar_async.config import LoadOptions
from hangar_async.engine.catalog import Catalog, HeldImage
from hangar_async.engine.clock import Clock
from hangar_async.engine.compare import Comparer
from hangar_async.engine.errand import Errand
from hangar_async.engine.events import Observer, ignore
from hangar_async.engine.governor import Governor
from hangar_async.engine.load_report import Comparison, ComparisonReport
from hangar_async.engine.places import find_archive, holdings_at, read_images
from hangar_async.engine.report import ImageOutcome
from hangar_async.errors import Differs, HangarError, the_error
from hangar_async.mirrors import Mirrors
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient

#: Images that are compared at once; their requests wait for permits.
_ABREAST = 40


async def load_validate(
    options: LoadOptions, observer: Observer = ignore, *, clock: Clock | None = None
) -> ComparisonReport:
    """Compare by digests what an archive, a cache directory or any OCI image layout holds with what a registry has.

    Nothing is sent. An image that differs is an outcome in the report. Raises as `load` does.
    """
    errand = await Errand.prepare(replace(options, dry_run=False), observer, clock or Clock())
    try:
        async with errand.client() as client:
            comparer = Comparer(client, errand.governor, errand.stock.documents)

            async def one(number: int, image: HeldImage, where: Reference) -> Comparison:
                await comparer.compare(image, where, number)
                return Comparison(image, where)

            comparisons = await errand.each(one, Comparison)
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    failed = [one.image for one in comparisons if not one.ok]
    await errand.write_failed(failed)
    return ComparisonReport(
        source=options.source,
        destination=options.where,
        comparisons=comparisons,
        seconds=errand.seconds,
        failed_list=options.failed if failed else None,
        notices=tuple(errand.notices),
    )


async def compare_saved(
    outcomes: Iterable[ImageOutcome], written: Path, client: RegistryClient, governor: Governor, mirrors: Mirrors
) -> list[ImageOutcome]:
    """Compare saved images, as they are read back from where they were written, with what their source has now.

    Returns the outcomes, those that differ with an error. Raises ArchiveError, ContentError and StorageError where
    what was written cannot be read.
    """
    catalog = await _read_back(written)
    held = {image.name: image for image in catalog.images}
    comparer = Comparer(client, governor, catalog.documents, mirrors)
    abreast = asyncio.Semaphore(_ABREAST)

    async def one(number: int, outcome: ImageOutcome) -> ImageOutcome:
        if outcome.image is None:
            return outcome
        image = held.get(outcome.image.reference.cache_name)
        async with abreast:
            try:
                if image is None:
                    raise Differs(f"it is not in {written}", advice="save it again")
                await comparer.compare(image, image.reference, number)
            except (HangarError, ExceptionGroup) as error:
                return replace(outcome, error=the_error(error))
        return outcome

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number, outcome)) for number, outcome in enumerate(outcomes)]
    return [task.result() for task in tasks]


async def _read_back(written: Path) -> Catalog:
    interrupt = Interrupt()

    def read() -> Catalog:
        return read_images(holdings_at(written, find_archive(written), interrupt))

    return await interrupt.in_thread(read)
