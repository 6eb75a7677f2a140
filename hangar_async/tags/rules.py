"""Rules that choose tags out of all tags of a repository, one filter after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from hangar_async.errors import InvalidValue
from hangar_async.tags.patterns import Patterns
from hangar_async.tags.version import Key, Version, VersionRange, is_referrer

#: The lines of versions of which each has its newest ones.
Per: TypeAlias = Literal["major", "minor"]
_NUMBERS = {None: 0, "major": 1, "minor": 2}
#: Texts of a list that a message shows.
_MOST_SHOWN = 12


@dataclass(frozen=True, slots=True)
class TagRules:
    """Rules for tags, each None for no rule; `select` applies them in the order in which they stand here.

    `match` and `exclude` match whole tags. With `version`, `variants` or `newest`, a tag needs a version, and a tag
    that floats comes by `also` alone: one whose numbers another tag of its variant continues, as `1.27` beside
    `1.27.3`. Without `variants`, only tags without a variant are chosen. `newest` counts versions, for each variant, in
    each line `per`. `also` are names of tags that are chosen whatever the rest says.
    """

    match: Patterns | None = None
    version: VersionRange | None = None
    variants: Patterns | None = None
    prereleases: bool = False
    exclude: Patterns | None = None
    newer_than: timedelta | None = None
    newest: int | None = None
    per: Per | None = None
    also: tuple[str, ...] = ()

    @property
    def literals(self) -> tuple[str, ...]:
        """The tags that are named one by one."""
        return tuple(dict.fromkeys((*(self.match.literals if self.match else ()), *self.also)))

    @property
    def needs_version(self) -> bool:
        """True when a tag without a version is not chosen."""
        return not (self.version is None and self.variants is None and self.newest is None)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The tags, where all of them are named one by one and nothing depends on other tags; None elsewhere."""
        match = self.match
        if match is None or self.needs_version or self.newer_than is not None or len(match.literals) < len(match.texts):
            return None
        exclude = self.exclude
        return tuple(tag for tag in self.literals if tag in self.also or not (exclude and exclude.matches(tag)))


@dataclass(frozen=True, slots=True)
class Step:
    """A filter: its name with its rule, the tags that fell at it in the order of the list, and the reason of each."""

    name: str
    fallen: tuple[str, ...]
    why: Callable[[str], str] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Selection:
    """The choice of some rules: the tags in the order of the list, and what became of all others.

    `missing` are tags that the rules name and the list lacks; `versions` has the tags with a version.
    """

    listed: tuple[str, ...]
    chosen: tuple[str, ...]
    steps: tuple[Step, ...]
    missing: tuple[str, ...] = ()
    versions: Mapping[str, Version] = field(default_factory=dict, compare=False, repr=False)

    def explain(self, tag: str) -> list[str]:
        """Tell for a tag what each filter says, and whether it is chosen."""
        if tag not in self.listed:
            return [f"the registry does not list it among its {len(self.listed):,} tags", "not chosen"]
        lines = []
        for step in self.steps:
            fallen = tag in step.fallen
            lines.append(f"{step.name}: {'falls: ' + step.why(tag) if fallen else 'passes'}")
            if fallen:
                break
        if tag in self.chosen:
            return [*lines, "chosen: also names it" if fallen else "chosen"]
        return [*lines, "not chosen"]


def select(
    rules: TagRules, tags: Iterable[str], now: datetime, created: Mapping[str, datetime | None] | None = None
) -> Selection:
    """Choose tags out of all tags of a repository; raises InvalidValue.

    With `newer_than` the times are needed at which the images of its candidates were created: see `before_times`.
    """
    return after_times(rules, before_times(rules, tags), now, created or {})


def read_versions(tags: Iterable[str], versions: dict[str, Version | None]) -> None:
    """Note the versions of some tags, such as a page of a list, None for a tag without one."""
    for tag in tags:
        versions[tag] = Version.of(tag)


def before_times(
    rules: TagRules, tags: Iterable[str], versions: Mapping[str, Version | None] | None = None
) -> Selection:
    """Apply the rules before `newer_than`; what they choose are the candidates of it.

    `versions` are those of all tags, where they were read before. Raises InvalidValue where every version has a
    variant, and the rules name none.
    """
    listed = tuple(dict.fromkeys(tags))
    version_of = Version.of if versions is None else versions.__getitem__
    filters = _Filters(listed, listed)
    filters.drop("signatures", is_referrer, lambda tag: "it names a signature or another referrer of an image")
    filters.versions = {tag: version for tag in filters.left if (version := version_of(tag)) is not None}
    if (match := rules.match) is not None:
        filters.drop(f"match {match}", lambda tag: not match.matches(tag), lambda tag: "no pattern matches it")
    if rules.needs_version:
        filters.by_version(rules)
    if not rules.prereleases:
        named = set(rules.literals)
        filters.drop("prereleases", lambda tag: filters.is_prerelease(tag) and tag not in named, filters.prerelease)
    if (exclude := rules.exclude) is not None:
        filters.drop(f"exclude {exclude}", exclude.matches, lambda tag: "a pattern matches it")
    return filters.selection()


def after_times(
    rules: TagRules, candidates: Selection, now: datetime, created: Mapping[str, datetime | None]
) -> Selection:
    """Apply `newer_than` and the rules after it."""
    filters = _Filters(candidates.listed, candidates.chosen, candidates.steps, candidates.versions)
    if rules.newer_than is not None:
        filters.by_time(now - rules.newer_than, created, f"newer-than {rules.newer_than.days}d")
    if rules.newest is not None:
        filters.by_age(rules.newest, rules.per)
    selection = filters.selection()
    chosen = {*selection.chosen, *rules.also}
    listed = frozenset(selection.listed)
    return replace(
        selection,
        chosen=tuple(tag for tag in selection.listed if tag in chosen),
        missing=tuple(tag for tag in rules.literals if tag not in listed),
    )


class _Filters:
    """The tags that are left after the filters so far."""

    def __init__(
        self,
        listed: tuple[str, ...],
        left: Sequence[str],
        steps: Sequence[Step] = (),
        versions: Mapping[str, Version] | None = None,
    ) -> None:
        self.listed = listed
        self.left = left
        self.steps = list(steps)
        self.versions = versions or {}

    def drop(self, name: str, falls: Callable[[str], bool], why: Callable[[str], str]) -> None:
        """Apply a filter."""
        left: list[str] = []
        fallen: list[str] = []
        for tag in self.left:
            (fallen if falls(tag) else left).append(tag)
        self.left = left
        self.steps.append(Step(name, tuple(fallen), why))

    def selection(self) -> Selection:
        """Return what is left."""
        return Selection(self.listed, tuple(self.left), tuple(self.steps), versions=self.versions)

    def by_version(self, rules: TagRules) -> None:
        """Apply `version` and `variants`; raises InvalidValue."""
        versions, floating = self.versions, _floating(self.versions)
        self.drop("has a version", lambda tag: tag not in versions, lambda tag: "it has no version")
        self.drop("stays", lambda tag: tag in floating, lambda tag: f"it floats: {floating[tag]} continues its numbers")
        variants = rules.variants or Patterns.parse([""], empty=True)
        if rules.variants is None:
            self._check_plain()
        if (version := rules.version) is not None:
            self.drop(
                f"version {version}",
                lambda tag: not version.holds(versions[tag]),
                lambda tag: f"{versions[tag]} is not in the range",
            )
        self.drop(
            f"variants {variants}",
            lambda tag: not variants.matches(versions[tag].variant),
            lambda tag: f"its variant is {versions[tag].variant or 'none'}",
        )

    def _check_plain(self) -> None:
        """Raise InvalidValue where every tag that is left has a variant."""
        found = dict.fromkeys(self.versions[tag].variant for tag in self.left)
        if found and "" not in found:
            shown = ", ".join(sorted(found)[:_MOST_SHOWN]) + (", ..." if len(found) > _MOST_SHOWN else "")
            raise InvalidValue(
                f"every version has a variant: name those that you want in `variants`; there are {shown}"
            )

    def is_prerelease(self, tag: str) -> bool:
        """Tell whether a tag names a prerelease."""
        version = self.versions.get(tag)
        return version is not None and bool(version.prerelease)

    def prerelease(self, tag: str) -> str:
        """Tell which prerelease a tag names."""
        return f"{self.versions[tag].prerelease} is a prerelease"

    def by_time(self, limit: datetime, created: Mapping[str, datetime | None], name: str) -> None:
        """Apply `newer_than`."""

        def why(tag: str) -> str:
            time = created.get(tag)
            return "its registry does not tell its time" if time is None else f"it was created at {time:%Y-%m-%d %H:%M}"

        self.drop(name, lambda tag: (time := created.get(tag)) is None or time < limit, why)

    def by_age(self, newest: int, per: Per | None) -> None:
        """Apply `newest`."""
        versions = self.versions
        lines: dict[tuple[str, tuple[int, ...]], set[Key]] = {}
        count = _NUMBERS[per]
        names = {tag: (versions[tag].variant, versions[tag].numbers[:count]) for tag in self.left}
        for tag, line in names.items():
            lines.setdefault(line, set()).add(versions[tag].key)
        oldest = {line: sorted(keys)[-newest:][0] for line, keys in lines.items()}

        def why(tag: str) -> str:
            variant, numbers = names[tag]
            of = ".".join(map(str, numbers)) or "all"
            return f"{newest} newer versions are there of {of}" + (f", variant {variant}" if variant else "")

        name = f"newest {newest}" + (f" per {per}" if per else "")
        self.drop(name, lambda tag: versions[tag].key < oldest[names[tag]], why)


def _floating(versions: Mapping[str, Version]) -> dict[str, str]:
    """Return the tags whose numbers another tag of the same variant continues, each with such a tag.

    A build is exact, and so is a prerelease with a number; one without, `3.14-rc`, floats beside prereleases alone.
    """
    continued: dict[tuple[str, tuple[int, ...], bool], str] = {}
    for tag, version in versions.items():
        _continue(continued, tag, version, len(version.numbers) - 1 + version.has_build, False)
        if version.prerelease:
            _continue(continued, tag, version, len(version.numbers) - 1 + version.has_count, True)
    return {
        tag: continued[line]
        for tag, version in versions.items()
        if not version.has_build
        and not version.has_count
        and (line := (version.variant, version.numbers, bool(version.prerelease))) in continued
    }


def _continue(
    continued: dict[tuple[str, tuple[int, ...], bool], str], tag: str, version: Version, longest: int, early: bool
) -> None:
    """Note a tag for the first of its numbers, up to so many of them, unless another tag is noted for these."""
    for length in range(longest, 0, -1):
        line = (version.variant, version.numbers[:length], early)
        if line in continued:
            # And for fewer of them too.
            return
        continued[line] = tag
