"""`load`: images out of an archive, where it lies, into a registry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from hangar_async.config import LoadOptions
from hangar_async.engine.blob_sources import SeekableBlobs
from hangar_async.engine.catalog import HeldImage
from hangar_async.engine.clock import Clock
from hangar_async.engine.errand import Errand
from hangar_async.engine.events import ImagePlanned, LoadEnded, Observer, ignore
from hangar_async.engine.image_push import ImagePush, PushWishes
from hangar_async.engine.load_report import LoadOutcome, LoadReport
from hangar_async.engine.permits import Turn
from hangar_async.engine.pushing import BlobSource, Pushing
from hangar_async.engine.rate import RateLimit
from hangar_async.engine.spool import Spool
from hangar_async.engine.transfers import Sent
from hangar_async.errors import HangarError, the_error
from hangar_async.oci.digest import Digest
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.harbor import HarborProjects
from hangar_async.registry.pushing import RegistryPusher


async def load(options: LoadOptions, observer: Observer = ignore, *, clock: Clock | None = None) -> LoadReport:
    """Push the images of an archive, a cache directory, or any OCI image layout into a registry, byte for byte.

    Blobs are read where they lie; each digest is sent once, and mounted in further repositories. An image that fails
    is an outcome in the report. Raises UsageError before any request, ArchiveError and ContentError for what cannot be
    read, RegistryErrors and NetworkError where the registry takes nothing at all.
    """
    errand = await Errand.prepare(options, observer, clock or Clock())
    _tell_plan(errand)
    if options.dry_run:
        return _report(errand, tuple(LoadOutcome(*named, "planned") for named in errand.named), Sent())
    try:
        outcomes, sent = await _push(errand)
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    await errand.write_failed(outcome.image for outcome in outcomes if not outcome.ok)
    return _report(errand, outcomes, sent)


async def _push(errand: Errand) -> tuple[tuple[LoadOutcome, ...], Sent]:
    options, stock = errand.options, errand.stock
    async with errand.client() as client:
        if options.harbor:
            await _make_projects(errand, client)
        async with _source(errand) as source:
            rate = RateLimit(options.environment.destinations.limit_rate, errand.clock)
            pushing = Pushing(RegistryPusher(client), errand.governor, rate, source, errand.observe)
            wishes = PushWishes(options.sparse_index, options.platform_tags)
            push = ImagePush(pushing, client, stock.documents, stock.sizes, wishes)
            if isinstance(source, Spool):
                await source.feed(errand.named, push, pushing)

            async def one(number: int, image: HeldImage, where: Reference) -> LoadOutcome:
                outcome = await push.push(image, where, number)
                if outcome.replaced is not None:
                    name = f"{where.name}:{where.tag}"
                    errand.notice(f"{name} was {outcome.replaced}, and is {outcome.digest} now")
                return outcome

            return await errand.each(one, _failed), pushing.sent


@asynccontextmanager
async def _source(errand: Errand) -> AsyncIterator[BlobSource]:
    if errand.stock.seekable is not None:
        yield SeekableBlobs(errand.stock.seekable)
        return
    async with Spool.opened(errand.stock.holdings, errand.options.spool, errand.options.permits) as spool:
        yield spool


async def _make_projects(errand: Errand, client: RegistryClient) -> None:
    """Make the projects of Harbor that are missing; a name in Harbor is PROJECT/NAME."""
    registry, options = errand.registry, errand.options
    harbor = HarborProjects(client, registry, https=options.harbor_https)
    for project in dict.fromkeys(where.repository.partition("/")[0] for _, where in errand.named):
        what, turn = f"project {project} of {registry}", Turn((0,))
        if not await errand.governor.run(what, registry, turn, partial(harbor.exists, project)):
            create = partial(harbor.create, project, public=options.harbor_public)
            await errand.governor.run(what, registry, turn, create)


def _tell_plan(errand: Errand) -> None:
    seen: set[Digest] = set()
    for image, _ in errand.named:
        new = [one for one in image.contents if one.digest not in seen]
        seen.update(one.digest for one in new)
        errand.observe(ImagePlanned(image.name, len(image.platforms), len(new), sum(one.size for one in new)))


def _failed(image: HeldImage, where: Reference, error: HangarError) -> LoadOutcome:
    return LoadOutcome(image, where, "failed", error=error)


def _report(errand: Errand, outcomes: Sequence[LoadOutcome], sent: Sent) -> LoadReport:
    options = errand.options
    report = LoadReport(
        source=options.source,
        destination=options.where,
        outcomes=tuple(outcomes),
        sent=sent,
        seconds=errand.seconds,
        dry=options.dry_run,
        failed_list=options.failed if any(not outcome.ok for outcome in outcomes) else None,
        notices=tuple(errand.notices),
    )
    errand.observe(LoadEnded(report))
    return report
