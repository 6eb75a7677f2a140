"""The referrers of images at their registries: by the API, by the tag of their list, and by the tags of cosign.

Source: OCI distribution-spec 1.1, "Listing Referrers" and "Referrers Tag Schema"; cosign, SIGNATURE_SPEC.md.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, Self

from yarl import URL

from hangar_async import oci
from hangar_async.config.registries import Mirrors
from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.mirrors import ask_mirrors_first
from hangar_async.engine.limits.queue import Rank, Ticket
from hangar_async.engine.pull.plan import DocumentSource, WholePlanner
from hangar_async.errors import HangarError, NetworkError, NotFound, RateLimited, RegistryError, copied, the_error
from hangar_async.packed import Recent
from hangar_async.registry.lists import ReferrerPage
from hangar_async.singleflight import SingleFlight
from hangar_async.tasks import each

#: The referrers of one image, those of its referrers among them, and the pages of a list of them: no more are taken.
MOST_REFERRERS = 1_000
_MOST_PAGES = 100
#: Repositories whose tags, and digests whose referrers, are remembered.
_MOST_KEPT = 4096
#: Referrers of referrers, at most: an attestation about a list of parts may be signed, and that signature as well.
_MOST_LEVELS = 4


class RootSource(DocumentSource, Protocol):
    """A source of documents that also gets those that references name."""

    async def root(self, image: oci.Reference, rank: Rank) -> oci.Document:
        """Get the document that a reference names; raises HangarError."""
        ...


@dataclass(frozen=True, slots=True)
class Subjects:
    """The digests of an image that may have referrers, its root first; `own` are all that its indexes name.

    A referrer that an index names comes with the image as it is.
    """

    digests: tuple[oci.Digest, ...]
    own: frozenset[oci.Digest] = frozenset()

    @classmethod
    def of(cls, image: oci.Image) -> Self:
        """Take the root, as at the source, and the manifests of a planned image."""
        roots = [digest for digest in (image.original, image.digest) if digest is not None]
        manifests = (digest for digest, item in image.documents.items() if isinstance(item, oci.Manifest))
        return cls(tuple(dict.fromkeys([*roots[:1], *manifests])), _named_by(image.documents.values()))

    @classmethod
    def of_indexes(cls, root: oci.Digest, documents: Iterable[oci.Document]) -> Self:
        """Take a root, and the manifests that indexes name."""
        own = _named_by(documents)
        return cls((root, *sorted(own - {root}, key=str)), own)


def _named_by(documents: Iterable[oci.Document]) -> frozenset[oci.Digest]:
    indexes = (item for item in documents if isinstance(item, oci.Index))
    return frozenset(entry.digest for index in indexes for entry in index.manifests if not entry.is_content)


@dataclass(frozen=True, slots=True)
class FoundReferrers:
    """The referrers of an image, each an image whose blobs are still to be fetched; notes about those left out."""

    images: tuple[oci.Image, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A referrer as a list or a tag names it; `descriptor` is None where only the tag is known."""

    subject: oci.Digest
    tag: str | None
    descriptor: oci.Descriptor | None
    artifact_type: str

    @property
    def key(self) -> oci.Digest | str:
        """The key of what it names."""
        return str(self.tag) if self.descriptor is None else self.descriptor.digest

    def reference(self, image: oci.Reference) -> oci.Reference:
        """Return its name in the repository of an image."""
        digest = None if self.tag is not None or self.descriptor is None else self.descriptor.digest
        return oci.Reference(image.registry, image.repository, self.tag, digest)


@dataclass(frozen=True, slots=True)
class _List:
    """The referrers of a digest that were found; `failure` is why there may be more."""

    entries: tuple[_Entry, ...]
    failure: HangarError | None = None


@dataclass(frozen=True, slots=True)
class _Tags:
    """The tags of a repository that may be of referrers; the others too are known where it is `complete`."""

    names: frozenset[str]
    complete: bool


class ReferrersFinder:
    """Finds the referrers of the images of a run, those of each digest in a repository once.

    The `flights` belong to the run. A registry that lists no referrers is not asked for them again: there the tags of
    a repository tell them, one request for all of its images; each tag is asked for where these are more than a page.
    A registry whose list fails, with all tries, is not asked for it again either; a repository that it refuses is one
    refused repository.
    """

    def __init__(
        self,
        client: LimitedClient,
        source: RootSource,
        flights: SingleFlight,
        mirrors: Mirrors,
        selector: oci.ReferrerSelector,
        at_once: int,
    ) -> None:
        self._client = client
        self._source = source
        self._flights = flights
        self._mirrors = mirrors
        self._selector = selector
        self._at_once = at_once
        self._planner = WholePlanner(source, oci.PlatformSelector.parse(["all"]), False, at_once)
        #: The registries, by name, that list referrers, and those that do not; the first question is for all.
        self._listing: dict[str, bool] = {}
        #: The failures of the list, by registry, and the refusals, by repository.
        self._failures: dict[str, RegistryError] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # Far more than are asked for at the same time; what is needed again later is asked for again.
        self._tags = Recent[str, _Tags](_MOST_KEPT)
        self._lists = Recent[tuple[str, oci.Digest], _List](_MOST_KEPT)

    async def find(self, image: oci.Reference, subjects: Subjects, rank: Rank) -> FoundReferrers:
        """Find the referrers of an image, and the referrers of these in turn.

        What cannot be looked for or got is a note. Raises errors that end the run alone.
        """
        found: dict[oci.Digest | str, oci.Image] = {}
        notes: list[str] = []
        level, known = list(subjects.digests), set[oci.Digest]()
        for _ in range(_MOST_LEVELS):
            known.update(level)
            asked = await self._that_may_have_referrers(image, level, rank, notes)
            lists = await each(asked, lambda subject: self._list(image, subject, rank, notes), self._at_once)
            entries = {entry.key: entry for listed in lists for entry in listed}
            entries = {key: entry for key, entry in entries.items() if key not in found and key not in subjects.own}
            left = MOST_REFERRERS - len(found)
            if len(entries) > left:
                notes.append(f"left out {len(entries) - left:,} of its referrers: at most {MOST_REFERRERS:,} are taken")
            taken = list(entries.values())[:left]
            images = await each(taken, lambda entry: self._plan(image, entry, rank, notes), self._at_once)
            new = {entry.key: one for entry, one in zip(taken, images, strict=True) if one is not None}
            found |= new
            level = [one.digest for one in new.values() if one.digest is not None and one.digest not in known]
            if not level:
                break
        return FoundReferrers(tuple(found.values()), tuple(notes))

    async def _that_may_have_referrers(
        self, image: oci.Reference, subjects: list[oci.Digest], rank: Rank, notes: list[str]
    ) -> list[oci.Digest]:
        """Return the digests that may have referrers; where a registry lists none, the tags tell it of all at once."""
        if self._listing.get(image.registry, True) or len(self._mirrors.sources(image)) > 1:
            return subjects
        try:
            await self._know_tags(image, rank)
        except (HangarError, ExceptionGroup) as group:
            failure = _passed_over(group)
            notes += [f"the referrers of {subject} could not be looked for: {failure}" for subject in subjects]
            return []
        return [subject for subject in subjects if not self._has_none(image, subject)]

    async def _list(
        self, image: oci.Reference, subject: oci.Digest, rank: Rank, notes: list[str]
    ) -> tuple[_Entry, ...]:
        """List the referrers of a digest that are selected."""
        key = (image.name, subject)
        try:
            if key not in self._lists:
                await self._flights.join(("referrers", *key), partial(self._look, image, subject, rank))
            found = self._lists[key]
        except (HangarError, ExceptionGroup) as group:
            found = _List((), _passed_over(group))
        if found.failure is not None:
            notes.append(f"the referrers of {subject} could not be looked for: {found.failure}")
        return found.entries

    def _has_none(self, image: oci.Reference, subject: oci.Digest) -> bool:
        """Tell whether the tags of a repository, whose registry lists no referrers, tell that a digest has none."""
        tags = self._tags[image.name]
        return tags.complete and not any(name.startswith(subject.tag) for name in tags.names)

    async def _look(self, image: oci.Reference, subject: oci.Digest, rank: Rank) -> None:
        listed, failure = None, None
        try:
            listed = await self._listed(image, subject, rank)
        except RateLimited:
            raise
        except RegistryError as error:
            failure = error
        tags = {f"{subject.algorithm}-{subject.hex}.{end}": kind for end, kind in oci.COSIGN_TYPES.items()}
        wanted = [tag for tag, kind in tags.items() if kind in self._selector]
        descriptors = await self._named(image, wanted if listed is not None else [*wanted, subject.tag], rank)
        if listed is None and subject.tag in descriptors:
            listed = await self._fallback(image, subject, rank)
        named = [_Entry(subject, tag, descriptors[tag], tags[tag]) for tag in wanted if tag in descriptors]
        by_list = (_Entry(subject, None, one, one.artifact_type) for one in listed or ())
        # Within the flight, so that nobody asks again who comes when it has just ended.
        self._lists[image.name, subject] = _List((*by_list, *named), failure)

    async def _listed(self, image: oci.Reference, subject: oci.Digest, rank: Rank) -> list[oci.Descriptor] | None:
        """Return the referrers that the API lists; None where no place of the repository has one."""

        async def ask(source: oci.Reference, mirror: bool) -> list[oci.Descriptor] | None:
            registry = source.registry
            async with nullcontext() if registry in self._listing else self._locks[registry]:
                if not self._listing.get(registry, True):
                    return None
                if failure := self._failures.get(registry) or self._failures.get(source.name):
                    raise copied(failure)
                try:
                    first = await self._page(source, subject, rank, mirror)
                except RegistryError as error:
                    if not mirror:
                        self._failures[registry if error.transient else source.name] = error
                    raise
                self._listing[registry] = first is not None
            entries, page, pages = list[oci.Descriptor](), first, 1
            while page is not None:
                entries += page.referrers
                if page.next is None or pages == _MOST_PAGES or len(entries) > MOST_REFERRERS:
                    break
                page, pages = await self._page(source, subject, rank, mirror, page.next), pages + 1
            return None if first is None else entries

        return await ask_mirrors_first(self._mirrors.sources(image), ask)

    async def _page(
        self, source: oci.Reference, subject: oci.Digest, rank: Rank, mirror: bool, page: URL | None = None
    ) -> ReferrerPage | None:
        ticket, only = Ticket(rank, ahead=True), self._selector.only
        return await self._client.list_referrers(
            source, subject, ticket, artifact_type=only, page=page, alternatives=mirror
        )

    async def _named(
        self, image: oci.Reference, tags: Collection[str], rank: Rank
    ) -> Mapping[str, oci.Descriptor | None]:
        """Return which of some tags the repository has, with their descriptors where each had to be asked for."""
        if not tags:
            return {}
        await self._know_tags(image, rank)
        known = self._tags[image.name]
        if known.complete:
            return {tag: None for tag in tags if tag in known.names}

        async def head(tag: str) -> oci.Descriptor | None:
            name = oci.Reference(image.registry, image.repository, tag)

            async def ask(source: oci.Reference, mirror: bool) -> oci.Descriptor | None:
                return await self._client.head_manifest(source, None, Ticket(rank, ahead=True), alternatives=mirror)

            return await ask_mirrors_first(self._mirrors.sources(name), ask)

        heads = await each(tags, head, self._at_once)
        return {tag: descriptor for tag, descriptor in zip(tags, heads, strict=True) if descriptor is not None}

    async def _know_tags(self, image: oci.Reference, rank: Rank) -> None:
        if image.name not in self._tags:
            await self._flights.join(("tags", image.name), partial(self._list_tags, image, rank))

    async def _list_tags(self, image: oci.Reference, rank: Rank) -> None:
        async def ask(source: oci.Reference, mirror: bool) -> _Tags | None:
            page = await self._client.list_tags(source, Ticket(rank, ahead=True), alternatives=mirror)
            if page is None:
                return None
            names = frozenset(tag for tag in page.tags if oci.is_referrers_tag(tag) or oci.cosign_type(tag))
            return _Tags(names, page.next is None)

        try:
            tags = await ask_mirrors_first(self._mirrors.sources(image), ask)
        except NetworkError:
            raise
        except HangarError:
            # A login that may pull need not be allowed to list.
            tags = None
        self._tags[image.name] = tags or _Tags(frozenset(), complete=False)

    async def _fallback(self, image: oci.Reference, subject: oci.Digest, rank: Rank) -> list[oci.Descriptor]:
        """Get the list that a client keeps under a tag; empty where the tag names anything else."""
        name = oci.Reference(image.registry, image.repository, subject.tag)

        async def ask(source: oci.Reference, mirror: bool) -> oci.Document | None:
            return (await self._client.get_document(source, Ticket(rank, ahead=True), alternatives=mirror))[0]

        try:
            document = await ask_mirrors_first(self._mirrors.sources(name), ask)
        except NotFound:
            return []
        if not isinstance(document, oci.Index) or document.digest == subject:
            return []
        return [] if any(one.platform for one in document.manifests) else list(document.manifests)

    async def _plan(self, image: oci.Reference, entry: _Entry, rank: Rank, notes: list[str]) -> oci.Image | None:
        """Plan a referrer as an image; None for one that is not selected, or cannot be got."""
        name = entry.reference(image)
        try:
            if entry.descriptor is None:
                root = await self._source.root(name, rank)
            elif entry.artifact_type and entry.artifact_type not in self._selector:
                return None
            else:
                root = await self._source.document(entry.descriptor, name, rank)
            attachment = oci.Attachment.of(entry.subject, name, root)
            if attachment.artifact_type not in self._selector:
                return None
            planned = (await self._planner.plan(name, root, rank)).image
        except (HangarError, ExceptionGroup) as group:
            notes.append(f"left out the referrer {name}: {_passed_over(group)}")
            return None
        return replace(planned, platforms=(), attachment=attachment)


def _passed_over(group: HangarError | ExceptionGroup) -> HangarError:
    """Return the error that is passed over; raises one that ends the run."""
    error = the_error(group)
    if error.ends_run:
        raise error from group
    return error
