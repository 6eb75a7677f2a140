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
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.limits.rate import RateLimit
from hangar_async.engine.logins import registry_of_login
from hangar_async.engine.pull.referrers import ReferrersFinder
from hangar_async.engine.push.blobs import BlobPusher
from hangar_async.engine.push.image import ImagePusher, PushOptions
from hangar_async.engine.reports import Sent
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.registry.client import RegistryClient
from hangar_async.singleflight import SingleFlight
from hangar_async.state.hints import State


@dataclass(frozen=True, slots=True)
class Target:
    """A registry that images are pushed to."""

    blobs: BlobPusher
    images: ImagePusher


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
    ) -> None:
        #: The hints of earlier runs, and for later ones.
        self.state = state
        settings = options.environment.registries
        self.documents = RegistryDocuments(source[1], flights, settings.mirrors)
        self.blobs = RegistryBlobs(*source, settings.mirrors, settings.retry, clock, verify=options.verify_bytes)
        #: The client of the targets, without and with limits.
        self.target_client, self.client = target
        self._source_client = source[0]
        rate = RateLimit(settings.limit_rate, clock)
        push_options = PushOptions(options.index_mode, options.platform_tags, options.recheck)
        #: The registries that images are pushed to. A flight of a digest is one at a registry.
        self.targets: dict[str, Target] = {}
        #: Finds the referrers at the sources; None where none are wanted.
        self.referrers: ReferrersFinder | None = None
        if selector := options.referrer_selector:
            mirrors, at_once = settings.mirrors, options.limits.blobs
            self.referrers = ReferrersFinder(source[1], self.documents, flights, mirrors, selector, at_once)
        for registry, own_flights in target_flights.items():
            blobs = BlobPusher(self.client, own_flights, rate, self.blobs, observe, state)
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
        sources = {entry.source.registry for entry in entries}
        targets = {entry.target.registry for entry in entries}
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
            source.expect(entry.source for entry in entries)
            target.expect((entry.target for entry in entries), push=push)
            retrier = Retrier(options.limits, environment.registries.retry, observe, clock)
            limited = [LimitedClient(client, retrier, len(entries)) for client in (source, target)]
            flights = await stack.enter_async_context(SingleFlight())
            target_flights = {name: await stack.enter_async_context(SingleFlight()) for name in sorted(targets)}
            sides = cls(
                options, observe, clock, (source, limited[0]), (target, limited[1]), flights, target_flights, state
            )
            for entry in entries:
                sides.targets[entry.target.registry].blobs.targets.add(entry.target.repository)
            yield sides

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
