"""The tags that a job may remove from its targets: those that it has put, and does not choose any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from hangar_async.engine.jobs.plan import read_list
from hangar_async.engine.jobs.report import ChosenJob, RepositoryChoice
from hangar_async.errors import UsageError
from hangar_async.jobfile.jobs import Job
from hangar_async.oci import Reference, cosign_type, is_referrers_tag
from hangar_async.state.hints import PutTag


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tag that its job does not choose any more; `reason` says why it stays all the same, "" where it may go."""

    put: PutTag
    reason: str = ""


def find_candidates(
    own: ChosenJob,
    puts: Iterable[PutTag],
    chosen: Sequence[ChosenJob],
    others: Iterable[Job],
    failed: Collection[str],
    *,
    anyway: bool = False,
) -> list[Candidate]:
    """Return the tags that a job has put and that no job chooses now, but for those that it keeps.

    `chosen` are all jobs of the run, `own` among them; `others` are those that did not choose. `failed` are the names
    of targets of which an image was not copied. With `anyway` tags of repositories go that the file does not name any
    more. Synchronous, for a thread: lists of other jobs are read.
    """
    wanted = {pair for one in chosen for pair in one.tags}
    others, keep = tuple(others), own.job.prune and own.job.prune.keep
    reasons: dict[tuple[str, str], str] = {}
    found = []
    for put in puts:
        name, tag = put.target.name, put.target.tag or ""
        if (name, tag) in wanted or is_referrers_tag(tag) or cosign_type(tag) or (keep and keep.matches(tag)):
            continue
        if (name, put.source) not in reasons:
            reason = "an image of its repository failed" if name in failed else _reason(own, put, anyway=anyway)
            reasons[name, put.source] = reason or _reason_of_others(name, own, chosen, others)
        found.append(Candidate(put, reasons[name, put.source]))
    return found


def _reason(own: ChosenJob, put: PutTag, *, anyway: bool) -> str:
    """Return the reason why the job itself cannot tell that a repository lacks a tag, "" where it can."""
    if own.job.list is not None:
        if not own.entries:
            return "its list is empty"
        if own.has_invalid:
            return "its list has invalid lines"
        if any(entry.target.name == put.target.name for entry in own.entries):
            return ""
    else:
        for choice in own.choices:
            if choice.target.name == put.target.name and not choice.pattern:
                return _reason_of_choice(choice)
        if any(choice.pattern for choice in own.choices):
            return "the repositories of its source could not be listed"
        if _is_vanished(own, put.source):
            return "its source is not listed any more"
    return "" if anyway else "the job does not copy its repository any more (--prune-anyway removes it)"


def _reason_of_choice(choice: RepositoryChoice) -> str:
    if choice.error is not None:
        return "the tags of its source could not be listed"
    if choice.selection is not None and not choice.selection.listed:
        return "its source lists no tags"
    return ""


def _is_vanished(own: ChosenJob, source: str) -> bool:
    """Tell whether a repository that a pattern of the job matches was not found at the registry."""
    if any(choice.source.name == source for choice in own.choices):
        return False
    image = Reference.parse(source)
    return any(
        one.is_pattern and one.registry == image.registry and one.stars(image.repository) is not None
        for one in own.job.sources
    )


def _reason_of_others(name: str, own: ChosenJob, chosen: Iterable[ChosenJob], others: Iterable[Job]) -> str:
    """Return the name of another job that may want the tags of a repository, as the reason; "" for none."""
    for one in chosen:
        refused = [choice for choice in one.choices if choice.error is not None]
        if one is not own and one.has_invalid:
            return f"job {one.job.name} may want it, and its list has invalid lines"
        if one is not own and any(
            one.job.may_have(name) if choice.pattern else choice.target.name == name for choice in refused
        ):
            return f"job {one.job.name} may want it, and its tags could not be listed"
    for job in others:
        if job.may_have(name) or _lists(job, name):
            return f"job {job.name} may want it, and is not run"
    return ""


def _lists(job: Job, name: str) -> bool:
    if job.list is None:
        return False
    try:
        listed = read_list(job)
        return bool(listed.invalid) or any(entry.target.name == name for entry in listed.entries)
    except UsageError:
        return True
