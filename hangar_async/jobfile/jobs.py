"""Jobs: repositories or lists of images, rules for their tags, and their names at another registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hangar_async.config.creation import Creation
from hangar_async.config.environment import Environment
from hangar_async.config.gates import Gate
from hangar_async.config.naming import Template
from hangar_async.config.registries import HostLimits
from hangar_async.errors import UsageError
from hangar_async.jobfile.document import Place
from hangar_async.jobfile.schedule import Schedule
from hangar_async.oci import Reference
from hangar_async.tags.patterns import Patterns
from hangar_async.tags.rules import TagRules

_NUMBERED = re.compile(r"\{([1-9])\}")
#: A field of a template in a regular expression that was made of it.
_FIELD = re.compile(r"\\\{\w+\\\}")


@dataclass(frozen=True, slots=True)
class Source:
    """A repository of a job, or a pattern of several: `*` stands for a part of a component, `**` for several."""

    registry: str
    repository: str
    place: Place = field(compare=False)

    @property
    def is_pattern(self) -> bool:
        """True when its repositories must be looked for."""
        return "*" in self.repository

    @property
    def prefix(self) -> str:
        """The start of all names that it stands for."""
        return self.repository.partition("*")[0]

    @property
    def example(self) -> Reference:
        """The repository, or one that the pattern matches."""
        return Reference(self.registry, re.sub(r"\*+", "x", self.repository))

    def stars(self, repository: str) -> tuple[str, ...] | None:
        """Return the texts that the wildcards stand for in a name; None for a name that it does not match."""
        regex = "".join(
            {"**": "(.+)", "*": "([^/]+)"}.get(part, re.escape(part)) for part in re.split(r"(\*\*?)", self.repository)
        )
        match = re.fullmatch(regex, repository)
        return None if match is None else match.groups()

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}"


@dataclass(frozen=True, slots=True)
class Prune:
    """Removal of tags that a job has put and does not choose any more, but for those that `keep` matches.

    One run removes at most a `number` of tags of a repository, or where that is None `percent` of them.
    """

    keep: Patterns | None = None
    number: int | None = None
    percent: int = 50

    def allows(self, count: int, tags: int) -> bool:
        """Tell whether so many of a repository's tags may be removed at once."""
        return count <= self.number if self.number is not None else 100 * count <= self.percent * tags

    @property
    def most(self) -> str:
        """The most that is removed, as the file has it."""
        return f"{self.percent}%" if self.number is None else str(self.number)


@dataclass(frozen=True, slots=True)
class Job:
    """A job: its images, the rules for their tags, and their names at another registry.

    Either `sources` or `list`, a file of lines, name the images. `to` is the template of the names, None where each
    line has its own; `platforms` is empty for all. `required` are artifact types of which an image must have a
    referrer, and `gate` judges it. `keeps` says that a tag that is there stays as it is. `schedule` is None for a job
    that only a command begins. `credentials` is a file of logins that is asked before all others.
    """

    name: str
    place: Place = field(compare=False)
    sources: tuple[Source, ...] = ()
    list: Path | None = None
    to: str | None = None
    rules: TagRules | None = None
    immutable: Patterns | None = None
    platforms: tuple[str, ...] = ()
    index: str = "auto"
    referrers: str = "all"
    required: tuple[str, ...] = ()
    gate: Gate | None = None
    keeps: bool = False
    prune: Prune | None = None
    schedule: Schedule | None = None
    credentials: Path | None = None

    def target(self, source: Source, image: Reference) -> Reference:
        """Return the name of an image of one of its sources; raises UsageError.

        `{1}` is the text of the first wildcard of the source; without wildcards, the first component of the name.
        """
        text, stars = self.to or "", source.stars(image.repository) if source.is_pattern else None
        if stars is not None:
            text = _NUMBERED.sub(lambda match: _star(stars, match), text)
        return Template(text).target(image)

    def may_have(self, target: str) -> bool:
        """Tell whether one of its sources may be copied to this target, whatever their registries list."""
        for source in self.sources:
            if not source.is_pattern and self.target(source, source.example).name == target:
                return True
            if source.is_pattern and re.fullmatch(_FIELD.sub(".+", re.escape(self.to or "")), target):
                return True
        return False


def _star(stars: tuple[str, ...], match: re.Match[str]) -> str:
    number = int(match[1])
    if number > len(stars):
        raise UsageError(f"--to: {match[0]} is no wildcard: the source has {len(stars)}")
    return stars[number - 1]


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that is told of a run: `when` are the words for what must have come of it. The address is a secret."""

    when: frozenset[str]
    address: str = field(repr=False)
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files of the report and of the failed images, and the address of numbers; None for none."""

    json: Path | None = None
    failed: Path | None = None
    metrics: str | None = None


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job file: its jobs, and the path of a state, None for none.

    `creations` are those of registries at which something is made where it is missing, `limits` of those that have
    limits of their own. `webhooks` are told what came of a run, and `outputs` are written. `has_variables` says that
    values in it come from the environment: they are hidden.
    """

    name: str
    jobs: tuple[Job, ...]
    creations: Mapping[str, Creation] = field(default_factory=dict)
    limits: Mapping[str, HostLimits] = field(default_factory=dict)
    state: Path | None = None
    webhooks: tuple[Webhook, ...] = ()
    has_variables: bool = False
    outputs: Outputs = Outputs()

    def limited(self, environment: Environment) -> Environment:
        """Return an environment in which registries have the limits of the file."""
        registries, destinations = (
            replace(settings, retry=replace(settings.retry, hosts=self.limits))
            for settings in (environment.registries, environment.destinations)
        )
        return replace(environment, registries=registries, destinations=destinations)

    @property
    def inputs(self) -> list[Path]:
        """The files that its jobs name: lists and logins."""
        return [path for job in self.jobs for path in (job.list, job.credentials) if path is not None]

    @property
    def has_gate(self) -> bool:
        """True when the file names programs that are run."""
        return any(job.gate is not None for job in self.jobs)

    def only(self, names: Sequence[str]) -> tuple[Job, ...]:
        """Return the jobs of these names, all for none; raises UsageError for an unknown one."""
        known = {job.name for job in self.jobs}
        for name in names:
            if name not in known:
                raise UsageError(f"{self.name} has no job {name!r} (--only): it has {', '.join(sorted(known))}")
        return tuple(job for job in self.jobs if not names or job.name in names)
