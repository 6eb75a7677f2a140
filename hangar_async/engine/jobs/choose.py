"""The choice of a job: its repositories, their tags, and the names of these at the target."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.config.shard import Shard
from hangar_async.engine.copy.documents import RegistryDocuments
from hangar_async.engine.copy.listing import all_tags, created, tag_pages
from hangar_async.engine.events import Observer
from hangar_async.engine.jobs.find import RepositoryFinder
from hangar_async.engine.jobs.report import RepositoryChoice
from hangar_async.engine.limits.client import LimitedClient, Retrier
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.limits.queue import Rank, planning_rank
from hangar_async.engine.logins import registry_of_login
from hangar_async.errors import HangarError, NotFound, the_error
from hangar_async.jobfile.jobs import Job, Source
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Digest, Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.singleflight import SingleFlight
from hangar_async.state.hints import NO_STATE, State
from hangar_async.tags.rules import Selection, TagRules, after_times, before_times, read_versions
from hangar_async.tags.version import Version
from hangar_async.tasks import each
from hangar_async.threads import in_thread

#: The rules of a job without any: all tags but those of signatures.
ALL = TagRules(prereleases=True)


@asynccontextmanager
async def choosers(
    options: MirrorJobsOptions,
    jobs: Sequence[Job],
    observe: Observer,
    notice: Callable[[str], None],
    clock: Clock,
    state: State = NO_STATE,
) -> AsyncIterator[Callable[[Job], Awaitable[Chooser]]]:
    """Give the chooser of each job: jobs of the same credentials share one, open until the end of the block."""
    async with AsyncExitStack() as stack:
        opened: dict[Path | None, Chooser] = {}

        async def of(job: Job) -> Chooser:
            path = job.credentials
            if path not in opened:
                alike = [one for one in jobs if one.credentials == path]
                chooser = Chooser.opened(options.with_credentials(path), alike, observe, notice, clock, state)
                opened[path] = await stack.enter_async_context(chooser)
            return opened[path]

        yield of


class Chooser:
    """Chooses tags of repositories, over clients of the sources and the targets of all jobs.

    Mirrors are not asked for lists, since one may hold a part. `now` is the time that ages are reckoned from. Of a
    `shard`, only the repositories whose targets it has are asked for. `tell_cost` is told what a rule has cost.
    """

    def __init__(
        self,
        sources: LimitedClient,
        targets: LimitedClient,
        documents: RegistryDocuments,
        finder: RepositoryFinder,
        at_once: int,
        now: datetime,
        state: State,
        shard: Shard | None = None,
        tell_cost: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._finder = finder
        self._sources = sources
        self._targets = targets
        self._documents = documents
        self._at_once = at_once
        self._now = now
        self._state = state
        self._shard = shard
        self._tell_cost = tell_cost

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        options: MirrorJobsOptions,
        jobs: Iterable[Job],
        observe: Observer,
        notice: Callable[[str], None],
        clock: Clock,
        state: State = NO_STATE,
    ) -> AsyncIterator[Chooser]:
        """Open the clients for some jobs; they are closed at the end of the block."""
        names = {source.registry for job in jobs for source in job.sources}
        environment, requests = options.environment, options.limits.requests
        login = registry_of_login(environment.registries, names, None, "SOURCE_USERNAME", "a login", notice)
        async with AsyncExitStack() as stack:
            retrier = Retrier(options.limits, environment.registries.retry, observe, clock)
            clients = [
                RegistryClient(settings, username_for=username_for, connections=requests, notice=notice)
                for settings, username_for in ((environment.registries, login), (environment.destinations, None))
            ]
            for client in clients:
                await stack.enter_async_context(client)
            sources, targets = (LimitedClient(client, retrier) for client in clients)
            flights = await stack.enter_async_context(SingleFlight())
            documents = RegistryDocuments(sources, flights, environment.registries.mirrors)
            finder = RepositoryFinder(sources, clients[0], https=options.harbor_https)
            now, shard = datetime.now(UTC), options.chosen_shard
            tell_cost = notice if options.is_dry else lambda _: None
            yield cls(sources, targets, documents, finder, requests, now, state, shard, tell_cost)

    async def choose(self, job: Job) -> tuple[RepositoryChoice, ...]:
        """Choose the tags of all repositories of a job; a failure is a part of its choice."""

        async def one(item: tuple[int, tuple[Source, Reference]]) -> RepositoryChoice:
            number, (source, image) = item
            target = job.target(source, image)
            try:
                return await self._choice(job, image, target, number)
            except (HangarError, ExceptionGroup) as group:
                return RepositoryChoice(image, target, error=_passable(group))

        repositories: list[tuple[Source, Reference]] = []
        failed: list[RepositoryChoice] = []
        for source in job.sources:
            try:
                found = await self._repositories(source)
                repositories += [(source, image) for image in found if self._has(job.target(source, image))]
            except (HangarError, ExceptionGroup) as group:
                example = source.example
                target = job.target(source, example)
                failed.append(RepositoryChoice(example, target, error=_passable(group), pattern=str(source)))
        return (*await each(list(enumerate(repositories)), one, self._at_once), *failed)

    async def moved(self, entries: Sequence[MirrorEntry]) -> list[tuple[MirrorEntry, Digest | None]]:
        """Return the images whose tags do not name their digests at the sources any more, each with the digest there.

        Raises HangarError.
        """

        async def ask(item: tuple[int, MirrorEntry]) -> Digest | None:
            number, entry = item
            source = replace(entry.source, digest=None)
            head = await self._documents.head(source, planning_rank(number))
            return None if head is None else head.digest

        tagged = [entry for entry in entries if entry.source.tag is not None]
        digests = await each(list(enumerate(tagged)), ask, self._at_once)
        pairs = zip(tagged, digests, strict=True)
        return [(entry, digest) for entry, digest in pairs if digest != entry.source.digest]

    async def digests(self, entries: Sequence[MirrorEntry]) -> list[Digest | None]:
        """Return the digests that the sources have now, None for one that is not there or not told."""

        async def ask(item: tuple[int, MirrorEntry]) -> Digest | None:
            number, entry = item
            if entry.source.digest is not None:
                return entry.source.digest
            try:
                head = await self._documents.head(entry.source, planning_rank(number))
            except (HangarError, ExceptionGroup) as group:
                _passable(group)
                return None
            return None if head is None else head.digest

        return await each(list(enumerate(entries)), ask, self._at_once)

    def _has(self, target: Reference) -> bool:
        return self._shard is None or target.name in self._shard

    async def _repositories(self, source: Source) -> list[Reference]:
        """Return the repositories of a source, those that a pattern matches in their order."""
        if not source.is_pattern:
            return [source.example]
        registry = self._documents.origin(source.example).registry
        names = await self._finder.find(source, registry)
        found = sorted({name for name in names if source.stars(name) is not None})
        if not found:
            message = f"{source} matches none of the {len(names):,} repositories that {registry} lists"
            raise NotFound(message, host=registry, status=404, advice="check the pattern, and the rights of the login")
        return [Reference(source.registry, name) for name in found]

    async def _choice(self, job: Job, source: Reference, target: Reference, number: int) -> RepositoryChoice:
        rules = job.rules or ALL
        if (names := rules.names) is not None:
            return RepositoryChoice(source, target, names)
        selection = await self.select(rules, source, number)
        chosen = (*selection.chosen, *selection.missing)
        immutable: frozenset[str] = frozenset()
        if (patterns := job.immutable) is not None:
            immutable = frozenset(tag for tag in selection.chosen if patterns.matches(tag))
        if immutable:
            immutable &= set(await all_tags(self._targets, target, planning_rank(number)) or ())
        return RepositoryChoice(source, target, chosen, selection, immutable)

    async def select(self, rules: TagRules, image: Reference, number: int) -> Selection:
        """Choose tags of a repository; raises HangarError."""
        rank = planning_rank(number)
        listed, versions = list[str](), dict[str, Version | None]()
        # The versions of a page are read while the next one is on its way.
        async with (
            asyncio.TaskGroup() as group,
            aclosing(tag_pages(self._sources, self._documents.origin(image), rank)) as pages,
        ):
            async for page in pages:
                if page is None:
                    why = f"{image.name} has no list of tags: it is not there"
                    raise NotFound(why, host=image.registry, status=404)
                listed += page
                group.create_task(in_thread(read_versions, page, versions))
        candidates = await in_thread(before_times, rules, listed, versions)
        times: dict[str, datetime | None] = {}

        async def ask(tag: str) -> None:
            try:
                times[tag] = await self._created(Reference(image.registry, image.repository, tag), rank)
            except NotFound:
                times[tag] = None

        if rules.newer_than is not None:
            await each(candidates.chosen, ask, self._at_once)
            asked = f"{len(candidates.chosen):,} tags of {image.name} were asked for their age one by one"
            self._tell_cost(f"{asked} (`newer-than`): up to three requests each, and one where a state knows it")
        return await in_thread(after_times, rules, candidates, self._now, times)

    async def _created(self, image: Reference, rank: Rank) -> datetime | None:
        """Return the time of an image, by its digest alone where an earlier run has asked; raises HangarError."""
        if not self._state.is_kept:
            return await created(self._documents, image, rank)
        root = await self._documents.head(image, rank)
        if root is not None:
            is_known, time = await self._state.created(root.digest)
            if is_known:
                return time
        time = await created(self._documents, image, rank, root)
        if root is not None:
            await self._state.note_created(root.digest, time)
        return time


def _passable(error: BaseException) -> HangarError:
    """Return the error of one repository, which the others of the job do not share; raises any other."""
    found = the_error(error)
    if found.ends_run:
        raise found
    return found
