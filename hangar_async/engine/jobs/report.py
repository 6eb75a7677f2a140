"""The outcome of jobs: the tags that were chosen of each repository, and the images that were copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hangar_async.engine.outcomes import Need, PrunedTag
from hangar_async.engine.reports import MirrorOutcome, MirrorReport, Sent
from hangar_async.errors import HangarError
from hangar_async.jobfile.jobs import Job
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Reference
from hangar_async.tags.rules import Selection


@dataclass(frozen=True, slots=True)
class RepositoryChoice:
    """The tags that a job chooses of a repository; `source` and `target` have no tag that counts.

    `selection` tells what became of all tags, None where no list was needed. `immutable` are chosen tags that both
    sides list and that never change. `error` is the reason why no tags could be chosen; with a `pattern`, why no
    repositories could be found for it.
    """

    source: Reference
    target: Reference
    tags: tuple[str, ...] = ()
    selection: Selection | None = None
    immutable: frozenset[str] = frozenset()
    error: HangarError | None = None
    pattern: str = ""

    @property
    def name(self) -> str:
        """The name of the repository, or the pattern of several."""
        return self.pattern or self.source.name

    @property
    def outcomes(self) -> tuple[MirrorOutcome, ...]:
        """The outcomes that need no request: the failure of the repository, and the images that never change."""
        if self.error is not None:
            # No line names its images: in a list of failed images it is a comment.
            entry = MirrorEntry(0, f"# {self.name}", self.source, self.target)
            return (MirrorOutcome(entry, "failed", error=self.error),)
        return tuple(self._unchanged(tag) for tag in self.tags if tag in self.immutable)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines `SOURCE DEST TAG` of the images that are asked for."""
        return tuple(self._line(tag) for tag in self.tags if tag not in self.immutable)

    def _line(self, tag: str) -> str:
        return f"{self.source.name} {self.target.name} {tag}"

    def _unchanged(self, tag: str) -> MirrorOutcome:
        entry = MirrorEntry(0, self._line(tag), replace(self.source, tag=tag), replace(self.target, tag=tag))
        return MirrorOutcome(entry, "unchanged")


@dataclass(frozen=True, slots=True)
class ChosenJob:
    """A job and its images.

    `choices` are its repositories and tags; `images` are its lines or the path of its list, `entries` what is read of
    them.
    `has_invalid` says that the list has lines that name no image: nobody knows which ones they mean.
    """

    job: Job
    choices: tuple[RepositoryChoice, ...]
    images: Path | Sequence[str]
    entries: tuple[MirrorEntry, ...]
    has_invalid: bool = False

    @property
    def tags(self) -> Iterator[tuple[str, str]]:
        """The tags of its images, each with the name of its repository at the target."""
        for choice in self.choices:
            yield from ((choice.target.name, tag) for tag in choice.tags)
        for entry in self.entries:
            if entry.target.tag is not None:
                yield entry.target.name, entry.target.tag


def whole_line(entry: MirrorEntry) -> MirrorEntry:
    """Return an entry with a text that names its image without its job: `SOURCE DEST TAG`."""
    source = entry.source
    version = "@".join(str(part) for part in (source.tag, source.digest) if part is not None)
    return replace(entry, text=f"{source.name} {entry.target.name} {version}")


@dataclass(frozen=True, slots=True)
class JobReport:
    """The outcome of a job: its choices, and the report of its images, None where there are none.

    An `error` ended the job, and `missed` are its images then. `pruned` are the tags that it does not choose any more.
    """

    name: str
    choices: tuple[RepositoryChoice, ...] = ()
    report: MirrorReport | None = None
    error: HangarError | None = None
    missed: tuple[MirrorEntry, ...] = ()
    pruned: tuple[PrunedTag, ...] = ()

    @property
    def outcomes(self) -> Iterator[MirrorOutcome]:
        """The outcomes of the images, each with a line that names it without the job."""
        for entry in self.missed:
            yield MirrorOutcome(whole_line(entry), "failed", error=self.error)
        for outcome in self.report.outcomes if self.report is not None else ():
            yield replace(outcome, entry=whole_line(outcome.entry))

    @property
    def refused(self) -> tuple[RepositoryChoice, ...]:
        """The repositories whose tags could not be chosen."""
        return tuple(choice for choice in self.choices if choice.error is not None)

    @property
    def failed_lines(self) -> Iterator[str]:
        """The failed images as lines of a list; a comment stands for a repository whose tags could not be chosen."""
        for choice in self.refused:
            yield f"# job {self.name}: {choice.name}: {' '.join(str(choice.error).split())}"
        if self.error is not None:
            yield f"# job {self.name}: {' '.join(str(self.error).split())}"
        if self.report is not None:
            yield from (whole_line(outcome.entry).text for outcome in self.report.failed)
            yield from (line.comment for line in self.report.invalid)

    @property
    def immutable(self) -> int:
        """The number of images that were not asked for."""
        return sum(len(choice.immutable) for choice in self.choices)

    @property
    def ok(self) -> bool:
        """True when all images of the job are there."""
        is_pruned = not any(tag.state == "failed" for tag in self.pruned)
        return is_pruned and self.error is None and not self.refused and (self.report is None or not self.report.status)

    @property
    def reached(self) -> bool:
        """True when something of the job could be done."""
        if self.report is not None:
            return self.report.status != 3 or self.immutable > 0
        return self.error is None and not (self.choices and len(self.refused) == len(self.choices))


@dataclass(frozen=True, slots=True)
class JobsReport:
    """The sum of jobs; `seconds` is its length. `dry` says that nothing was sent, `check` that differences are told."""

    jobs: tuple[JobReport, ...]
    seconds: float
    dry: bool = False
    check: bool = False
    failed_list: Path | None = None
    notices: tuple[str, ...] = ()

    @property
    def whole(self) -> MirrorReport:
        """The report of all jobs as one list."""
        reports = [job.report for job in self.jobs if job.report is not None]
        sent = Sent()
        for report in reports:
            sent.add(report.sent)
        choices = [outcome for job in self.jobs for choice in job.choices for outcome in choice.outcomes]
        return MirrorReport(
            outcomes=(*choices, *(outcome for job in self.jobs for outcome in job.outcomes)),
            invalid=tuple(line for report in reports for line in report.invalid),
            duplicates=sum(report.duplicates for report in reports),
            sent=sent,
            seconds=self.seconds,
            dry=self.dry,
            lenient=all(report.lenient for report in reports),
            with_referrers=any(report.with_referrers for report in reports),
            pruned=tuple(tag for job in self.jobs for tag in job.pruned),
            failed_list=self.failed_list,
            notices=(*self.notices, *(notice for report in reports for notice in report.notices)),
            quotas=tuple({quota.host: quota for report in reports for quota in report.quotas}.values()),
        )

    @property
    def need(self) -> Need:
        """The sum of the needs of all images, where they were asked for."""
        reports = [job.report for job in self.jobs if job.report is not None]
        needs = (outcome.need for report in reports for outcome in report.outcomes)
        return sum((need for need in needs if need is not None), Need())

    @property
    def differs(self) -> bool:
        """True when a run would copy an image, or delete a tag."""
        reports = [job.report for job in self.jobs if job.report is not None]
        is_copied = any(outcome.state == "planned" for report in reports for outcome in report.outcomes)
        return is_copied or any(tag.state == "planned" for job in self.jobs for tag in job.pruned)

    @property
    def status(self) -> int:
        """The exit status of the command: as for a MirrorReport, and 4 where a check finds a difference."""
        if not any(job.reached for job in self.jobs):
            return 3
        if not all(job.ok for job in self.jobs):
            return 1
        return 4 if self.check and self.differs else 0
