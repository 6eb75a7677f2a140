"""Images of jobs that would have one name at a target: they are refused before anything is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

from hangar_async.engine.jobs.choose import Chooser
from hangar_async.engine.jobs.report import ChosenJob
from hangar_async.errors import UsageError, the_error
from hangar_async.jobfile.jobs import Job
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Digest, Reference
from hangar_async.threads import in_thread

#: Gives the chooser of a job, in a block.
Choosers: TypeAlias = Callable[[], AbstractAsyncContextManager[Callable[[Job], Awaitable[Chooser]]]]


def check_targets(chosen: Iterable[ChosenJob]) -> None:
    """Raise UsageError where two repositories would have one name."""
    seen: dict[str, tuple[str, Job]] = {}
    for one in chosen:
        for choice in one.choices:
            source, target = choice.source.name, choice.target.name
            first, job = seen.setdefault(target, (source, one.job))
            if first != source:
                names = job.name if job == one.job else f"{job.name} and {one.job.name}"
                raise UsageError(f"job {names}: {first} and {source} would both be {target}")


async def check_lists(chosen: Sequence[ChosenJob], choosers: Choosers) -> None:
    """Raise UsageError where a line of a list and another job want different images under one name.

    Images of one digest are one image. One that has no digest at its source is left out: it fails later.
    """
    pairs = await in_thread(_shared, chosen)
    if not pairs:
        return
    digests: dict[Reference, Digest | None] = {}
    try:
        async with choosers() as chooser_of:
            for job in {one.job.name: one.job for pair in pairs for one in pair}.values():
                entries = [one.entry for pair in pairs for one in pair if one.job is job]
                found = await (await chooser_of(job)).digests(entries)
                digests.update(zip((entry.source for entry in entries), found, strict=True))
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    for first, other in pairs:
        known = digests[first.entry.source], digests[other.entry.source]
        if None not in known and known[0] != known[1]:
            sources = f"{first.entry.source} and {other.entry.source}"
            raise UsageError(f"{first} and {other} would both be {other.entry.target}, and {sources} differ")


@dataclass(frozen=True, slots=True)
class _Named:
    """An image of a job."""

    job: Job
    entry: MirrorEntry

    def __str__(self) -> str:
        line = f", line {self.entry.line} of {self.job.list}," if self.job.list is not None else ""
        return f"job {self.job.name}{line}"


def _shared(chosen: Sequence[ChosenJob]) -> list[tuple[_Named, _Named]]:
    """Return the images of different sources that have one name, where a list is one of the jobs."""
    if len(chosen) < 2 or all(one.job.list is None for one in chosen):
        # Repositories have been compared.
        return []
    seen: dict[Reference, _Named] = {}
    pairs = []
    for one in chosen:
        for entry in _entries(one):
            named = _Named(one.job, entry)
            first = seen.setdefault(entry.target, named)
            if first.job is not one.job and first.entry.source != entry.source:
                pairs.append((first, named))
    return pairs


def _entries(one: ChosenJob) -> Iterator[MirrorEntry]:
    yield from one.entries
    for choice in one.choices:
        if choice.error is None:
            yield from (outcome.entry for outcome in choice.outcomes)
