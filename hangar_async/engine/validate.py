"""`load-validate`: whether a registry has what lies in an archive."""

from __future__ import annotations

from dataclasses import replace

from hangar_async.config import LoadOptions
from hangar_async.engine.catalog import HeldImage
from hangar_async.engine.clock import Clock
from hangar_async.engine.compare import Comparer
from hangar_async.engine.errand import Errand
from hangar_async.engine.events import Observer, ignore
from hangar_async.engine.load_report import Comparison, ComparisonReport
from hangar_async.errors import the_error
from hangar_async.oci.reference import Reference


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
