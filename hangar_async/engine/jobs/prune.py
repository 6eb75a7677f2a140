"""The removal of tags that jobs have put, and do not choose any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.engine.copy.listing import all_tags
from hangar_async.engine.events import Observer
from hangar_async.engine.jobs.candidates import Candidate
from hangar_async.engine.limits.client import LimitedClient, Retrier
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.limits.queue import Ticket, planning_rank
from hangar_async.engine.logins import registry_of_login
from hangar_async.engine.outcomes import PrunedTag
from hangar_async.errors import HangarError, the_error
from hangar_async.jobfile.jobs import Prune
from hangar_async.oci import Digest, Reference, cosign_type, is_referrers_tag
from hangar_async.registry.client import RegistryClient
from hangar_async.state.hints import PutTag, State
from hangar_async.tasks import each

#: The quirk of a registry that deletes no tags.
_KEEPS_TAGS = "deletes no tags"
#: The digests of tags that the run has just seen or written, by the name of their repository and the tag.
KnownTags: TypeAlias = Mapping[tuple[str, str], Digest]


class Pruner:
    """Deletes tags that their job owns by the state, and that name the digest that it has put.

    `known` are tags that need not be asked for. Never a digest is deleted: what a tag named stays for the registry's
    own garbage collection.
    """

    def __init__(
        self,
        clients: tuple[RegistryClient, LimitedClient],
        state: State,
        known: KnownTags,
        at_once: int,
        notice: Callable[[str], None],
        *,
        dry: bool,
        anyway: bool,
    ) -> None:
        self._registry_client, self._client = clients
        self._state = state
        self._known = known
        self._at_once = at_once
        self._notice = notice
        self._dry = dry
        self._anyway = anyway
        #: The registries that have refused to delete a tag, and the tags that were asked to be deleted.
        self._refusing: set[str] = set()
        self._asked: set[Reference] = set()

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        options: MirrorJobsOptions,
        registries: Iterable[str],
        state: State,
        known: KnownTags,
        observe: Observer,
        notice: Callable[[str], None],
        clock: Clock,
    ) -> AsyncIterator[Pruner]:
        """Open a client for these registries; it is closed at the end of the block."""
        environment, requests = options.environment, options.limits.requests
        login = registry_of_login(
            environment.destinations, registries, None, "DEST_USERNAME", "a login", lambda _: None
        )
        retrier = Retrier(options.limits, environment.registries.retry, observe, clock)
        async with RegistryClient(
            environment.destinations, username_for=login, connections=requests, notice=notice
        ) as client:
            limited = LimitedClient(client, retrier)
            dry, anyway = options.is_dry, options.prune_anyway
            yield cls((client, limited), state, known, requests, notice, dry=dry, anyway=anyway)

    async def prune(self, rules: Prune, candidates: Sequence[Candidate]) -> tuple[PrunedTag, ...]:
        """Delete candidates of a job; a failure is an outcome."""
        found = [_left(one.put, one.reason) for one in candidates if one.reason]
        repositories: dict[str, list[PutTag]] = defaultdict(list)
        for one in candidates:
            if not one.reason:
                repositories[one.put.target.name].append(one.put)

        async def work(puts: list[PutTag]) -> list[PrunedTag]:
            try:
                return await self._repository(rules, puts)
            except (HangarError, ExceptionGroup) as group:
                error = the_error(group)
                if error.ends_run:
                    raise error from group
                return [PrunedTag(put.target, put.digest, "failed", str(error)) for put in puts]

        outcomes = await each(list(repositories.values()), work, self._at_once)
        return (*found, *(outcome for outcomes_of_one in outcomes for outcome in outcomes_of_one))

    async def _repository(self, rules: Prune, puts: Sequence[PutTag]) -> list[PrunedTag]:
        """Delete tags of one repository, one after the other; raises HangarError before the first is deleted."""
        image = puts[0].target
        there = set(await all_tags(self._client, image, planning_rank(0)) or ())
        if not there:
            return [_left(put, "its repository lists no tags") for put in puts]
        names = [put.target.tag for put in puts if put.target.tag in there]
        digests = await self._digests(image, filter(None, names))
        found, going = list[PrunedTag](), list[PutTag]()
        for put in puts:
            if digests.get(put.target.tag or "") == put.digest:
                going.append(put)
            else:
                found += await self._taken(put, digests.get(put.target.tag or ""))
        if going:
            digests |= await self._digests(image, there.difference(names))
        gone = {put.target.tag for put in going}
        remaining = {digest: tag for tag, digest in digests.items() if tag not in gone}
        # Some registries delete the image with all its tags.
        shared = [put for put in going if put.digest in remaining]
        found += [_left(put, f"{remaining[put.digest]} names the same image, and stays") for put in shared]
        going = [put for put in going if put.digest not in remaining]
        tags = sum(not (is_referrers_tag(tag) or cosign_type(tag)) for tag in there)
        if not (self._anyway or rules.allows(len(going), tags)):
            reason = f"{len(going):,} of the {tags:,} tags there are more than at-most {rules.most} (--prune-anyway)"
            return [*found, *(PrunedTag(put.target, put.digest, "failed", reason) for put in going)]
        return [*found, *[await self._tag(put) for put in going]]

    async def _digests(self, image: Reference, tags: Iterable[str]) -> dict[str, Digest]:
        """Return the digests that tags of a repository name; raises HangarError."""
        found: dict[str, Digest] = {}

        async def ask(tag: str) -> None:
            digest = self._known.get((image.name, tag))
            if digest is None:
                name = Reference(image.registry, image.repository, tag)
                head = await self._client.head_manifest(name, None, Ticket(planning_rank(0), ahead=True))
                digest = None if head is None else head.digest
            if digest is not None:
                found[tag] = digest

        await each(sorted(tags), ask, self._at_once)
        return found

    async def _taken(self, put: PutTag, digest: Digest | None) -> list[PrunedTag]:
        """Note that a tag names another image by now, or is gone, and is not the job's any more."""
        if not self._dry:
            await self._state.forget_put(put.target)
        return [] if digest is None else [_left(put, f"another program has put it: it is {digest}")]

    async def _tag(self, put: PutTag) -> PrunedTag:
        registry = put.target.registry
        if self._dry:
            # A run asks it again.
            if self._state.has_quirk(registry, _KEEPS_TAGS):
                return _left(put, f"{registry} {_KEEPS_TAGS}")
            return PrunedTag(put.target, put.digest, "planned")
        if registry in self._refusing:
            return _left(put, f"{registry} {_KEEPS_TAGS}")
        try:
            outcome = await self._client.call(f"tag {put.target}", registry, partial(self._delete, put))
        except (HangarError, ExceptionGroup) as group:
            error = the_error(group)
            if error.ends_run:
                raise error from group
            return PrunedTag(put.target, put.digest, "failed", str(error))
        if outcome.state == "deleted":
            self._notice(f"{put.target} is deleted, and was {put.digest}")
        return outcome

    async def _delete(self, put: PutTag) -> PrunedTag:
        """Delete a tag if it names the digest that the job has put; one try."""
        # Asked for right before, also when it is tried again: another program may have put the tag since.
        head = await self._registry_client.head_manifest(put.target)
        if head is not None and head.digest != put.digest:
            return (await self._taken(put, head.digest))[0]
        if head is not None:
            self._asked.add(put.target)
            if not await self._registry_client.delete_tag(put.target):
                self._refusing.add(put.target.registry)
                await self._state.note_quirk(put.target.registry, _KEEPS_TAGS)
                return _left(put, f"{put.target.registry} {_KEEPS_TAGS}")
        elif put.target not in self._asked:
            return _left(put, "it is gone")
        await self._state.forget_put(put.target)
        await self._state.forget_quirk(put.target.registry, _KEEPS_TAGS)
        return PrunedTag(put.target, put.digest, "deleted")


def _left(put: PutTag, reason: str) -> PrunedTag:
    return PrunedTag(put.target, put.digest, "left", reason)
