"""The clients of both sides of a mirror, and the registries that images are pushed to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from hangar_async.config.target_options import MirrorOptions
from hangar_async.effort import Effort, WorkTimes
from hangar_async.engine.copy.blobs import RegistryBlobs
from hangar_async.engine.copy.documents import RegistryDocuments
from hangar_async.engine.events import Observer
from hangar_async.engine.limits.client import LimitedClient, Retrier
from hangar_async.engine.limits.hosts import Clock, Hosts
from hangar_async.engine.limits.rate import RateLimit
from hangar_async.engine.logins import registry_of_login
from hangar_async.engine.pull.referrers import ReferrersFinder
from hangar_async.engine.push.blobs import BlobPusher
from hangar_async.engine.push.image import ImagePusher, PushOptions
from hangar_async.engine.reports import Sent
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.singleflight import SingleFlight
from hangar_async.state.hints import State


@dataclass(frozen=True, slots=True)
class Target:
    """A registry that images are pushed to."""

    blobs: BlobPusher
    images: ImagePusher


@dataclass(frozen=True, slots=True)
class Registries:
    """The registries that images come from, and those that they go to."""

    sources: frozenset[str]
    targets: frozenset[str]

    @classmethod
    def of(cls, entries: Iterable[MirrorEntry]) -> Registries:
        """Return the registries of the entries of a list."""
        pairs = [(entry.source.registry, entry.target.registry) for entry in entries]
        return cls(frozenset(source for source, _ in pairs), frozenset(target for _, target in pairs))


class Sides:
    """The sources of a mirror, `documents` and `blobs`; and its `targets`, by registry."""

    def __init__(
        self,
        options: MirrorOptions,
        observe: Observer,
        clock: Clock,
        source: tuple[RegistryClient, LimitedClient],
        target: tuple[RegistryClient, LimitedClient],
        flights: SingleFlight,
        target_flights: Mapping[str, SingleFlight],
        state: State,
        hosts: Hosts,
    ) -> None:
        #: The hosts of both sides.
        self.hosts = hosts
        #: The hints of earlier runs, and for later ones.
        self.state = state
        settings = options.environment.registries
        self.documents = RegistryDocuments(source[1], flights, settings.mirrors)
        self.blobs = RegistryBlobs(*source, settings.mirrors, settings.retry, clock, verify=options.verify_bytes)
        #: The client of the targets, without and with limits.
        self.target_client, self.client = target
        self._source_client = source[0]
        #: The rate of all transfers together.
        self.rate = RateLimit(settings.limit_rate, clock)
        push_options = PushOptions(options.index_mode, options.platform_tags, options.recheck)
        #: The registries that images are pushed to. A flight of a digest is one at a registry.
        self.targets: dict[str, Target] = {}
        #: Finds the referrers at the sources; None where none are wanted.
        self.referrers: ReferrersFinder | None = None
        if selector := options.referrer_selector:
            mirrors, at_once = settings.mirrors, options.limits.blobs
            self.referrers = ReferrersFinder(source[1], self.documents, flights, mirrors, selector, at_once)
        for registry, own_flights in target_flights.items():
            blobs = BlobPusher(self.client, own_flights, self.rate, self.blobs, observe, state)
            self.targets[registry] = Target(blobs, ImagePusher(self.client, blobs, push_options, state))

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        options: MirrorOptions,
        entries: Iterable[MirrorEntry],
        observe: Observer,
        notice: Callable[[str], None],
        clock: Clock,
        state: State,
        *,
        push: bool,
    ) -> AsyncIterator[Sides]:
        """Open the clients for the images of a list; they are closed at the end of the block."""
        entries = tuple(entries)
        async with cls.between(options, Registries.of(entries), observe, notice, clock, state, len(entries)) as sides:
            sides.expect(((entry.source, entry.target) for entry in entries), push=push)
            yield sides

    @classmethod
    @asynccontextmanager
    async def between(
        cls,
        options: MirrorOptions,
        registries: Registries,
        observe: Observer,
        notice: Callable[[str], None],
        clock: Clock,
        state: State,
        images: int,
    ) -> AsyncIterator[Sides]:
        """Open the clients for a number of images of these registries; they are closed at the end of the block."""
        sources, targets = registries.sources, registries.targets
        environment, requests = options.environment, options.limits.requests
        async with AsyncExitStack() as stack:
            source = RegistryClient(
                environment.registries,
                username_for=registry_of_login(
                    environment.registries, sources, options.names.source, "SOURCE_USERNAME", "--source", notice
                ),
                named=sources | targets,
                connections=requests,
                notice=notice,
            )
            target = RegistryClient(
                environment.destinations,
                username_for=registry_of_login(
                    environment.destinations, targets, None, "DEST_USERNAME", "--destination", notice
                ),
                named=sources | targets,
                connections=requests,
                notice=notice,
                sessions=state,
            )
            for client in (source, target):
                await stack.enter_async_context(client)
            retrier = Retrier(options.limits, environment.registries.retry, observe, clock)
            limited = [LimitedClient(client, retrier, images) for client in (source, target)]
            flights = await stack.enter_async_context(SingleFlight())
            target_flights = {name: await stack.enter_async_context(SingleFlight()) for name in sorted(targets)}
            pairs, hosts = ((source, limited[0]), (target, limited[1])), retrier.hosts
            yield cls(options, observe, clock, *pairs, flights, target_flights, state, hosts)

    def expect(self, images: Iterable[tuple[Reference, Reference]], *, push: bool) -> None:
        """Note the images that will be worked on, each as its source and its target."""
        images = tuple(images)
        self._source_client.expect(source for source, _ in images)
        self.target_client.expect((target for _, target in images), push=push)
        for _, target in images:
            self.targets[target.registry].blobs.targets.add(target.repository)

    def effort(self, times: WorkTimes) -> Effort:
        """Return what the requests to both sides took."""
        return self.client.usage.meters.effort(times, self._source_client.moved, self.target_client.moved)

    @property
    def sent(self) -> Sent:
        """The sum of what was sent to all targets."""
        total = Sent()
        for target in self.targets.values():
            total.add(target.blobs.sent)
        return total
