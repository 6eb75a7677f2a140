"""The outcome of a run, as one who does one thing after the other would say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache

from tests.engine.rig import all_digests
from tests.model.plans import IMAGES, MIRROR, NO_PLATFORM, PERMANENT, SILENT, Content, Line, Plan


class Answer(IntEnum):
    """Whether something comes; MAYBE where it depends on what happens first."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True)
class Expected:
    """Whether an image is saved, or a content comes, and the possible reasons where it is not."""

    answer: Answer
    reasons: frozenset[str] = frozenset()

    def perhaps(self) -> Expected:
        """Return the same for a request that may not be made."""
        return replace(self, answer=max(self.answer, Answer.MAYBE))


def all_of(parts: Iterable[Expected]) -> Expected:
    """Join what must all come."""
    parts = list(parts)
    answer = min((part.answer for part in parts), default=Answer.YES)
    return Expected(answer, frozenset(reason for part in parts for reason in part.reasons))


def any_of(parts: Iterable[Expected]) -> Expected:
    """Join what may come from several places."""
    parts = list(parts)
    answer = max(part.answer for part in parts)
    if answer == Answer.YES:
        return Expected(answer)
    return Expected(answer, frozenset(reason for part in parts for reason in part.reasons))


#: Faults of a body, which a HEAD does not have.
_OF_BODIES = ("wrong", "short", "nothing", "cut", "cut without ranges")
#: After so many requests without an answer a host that never gave one may be given up.
_UNKNOWN_HOST_GIVEN_UP = 5


class Model:
    """The outcomes that a plan leads to, line by line."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.earlier = {digest for line in plan.earlier_lines for digest in line.digests}
        self.at = cache(self._at)
        self.root = cache(self._root)
        self.planning = cache(self._planning)

    def outcomes(self) -> list[Expected]:
        """Return the outcome of each line that is not there twice."""
        return [self.outcome(line) for line in self.plan.entries]

    def outcome(self, line: Line) -> Expected:
        first = next(other for other in self.plan.entries if other.cache_name == line.cache_name)
        if first == line or self.root(first).answer == Answer.NO:
            return self.image(line)
        if self.root(first).answer == Answer.YES:
            # It is the same image, which is saved, or fails, as the first one.
            return self.root(line)
        either = self.image(line)
        return either if either.answer == Answer.YES else Expected(Answer.MAYBE, either.reasons)

    def image(self, line: Line) -> Expected:
        planning = self.planning(line)
        if planning.answer == Answer.NO:
            return planning
        if line.image == NO_PLATFORM:
            return all_of([planning, Expected(Answer.NO, frozenset({"no such platform"}))])
        blobs = {blob: self.blob(line, blob) for blob in line.parts.blobs}
        return all_of([planning, *self.without_companions(line, blobs)])

    def _planning(self, line: Line) -> Expected:
        """Whether all comes that tells what the image is."""
        contents = {content: self.early(line, content) for content in line.parts.planning}
        return all_of([self.root(line), *self.without_companions(line, contents)])

    def without_companions(self, line: Line, parts: Mapping[Content, Expected]) -> list[Expected]:
        """Leave out companions that are gone; what a companion names is not needed then."""
        companions = [content for content in parts if content.reference in line.parts.companions]
        documents = [content for content in line.parts.planning if content.reference in line.parts.companions]
        known = [*(self.early(line, content) for content in documents), *(parts[content] for content in companions)]
        may_be_gone = any(part.answer != Answer.YES and "not found" in part.reasons for part in known)
        found = [part for content, part in parts.items() if content not in companions]
        for part in (parts[content] for content in companions):
            is_gone = part.answer != Answer.YES and part.reasons == {"not found"}
            maybe = part.answer == Answer.NO and may_be_gone
            found.append(Expected(Answer.YES) if is_gone else replace(part, answer=Answer.MAYBE) if maybe else part)
        return found

    def _root(self, line: Line) -> Expected:
        if line.by != "tag":
            return self.early(line, line.root)
        others = [digest for other in self.plan.entries if other != line for digest in other.digests]
        if self.earlier and str(IMAGES[line.image].digest) in {*self.earlier, *others}:
            # A HEAD may do.
            found = self.at(line, line.root)
            troubles = [self.plan.faults.get((host, line.repository, line.root)) for host in (line.host, MIRROR)]
            if found.answer != Answer.YES and any(trouble and trouble.kind in _OF_BODIES for trouble in troubles):
                return Expected(Answer.MAYBE, found.reasons)
            return found
        return self.at(line, line.root)

    def early(self, line: Line, content: Content) -> Expected:
        """Something that is needed for planning, which any repository may give whose image names it."""
        if content.reference in self.earlier:
            return Expected(Answer.YES)
        own = self.at(line, content)
        others = [other for other in self.plan.entries if other != line and content.reference in other.digests]
        if own.answer == Answer.YES or not others:
            return own
        if any(self.names(other, content) for other in others):
            return Expected(Answer.YES)
        reasons = own.reasons.union(*(self.at(other, content).reasons for other in others))
        found = max(self.at(other, content).answer for other in others)
        # It may be the root of another line, which is asked for by its tag.
        found = max([found, *(self.at(other, other.root).answer for other in others)])
        return Expected(min(max(found, own.answer), Answer.MAYBE), reasons)

    def names(self, line: Line, content: Content) -> bool:
        """Whether an image names something, and its repository gives it, whatever happens to other images."""
        first = next(other for other in self.plan.entries if other.cache_name == line.cache_name)
        planning = {line.root, *line.parts.planning}
        is_planned = first == line and line.image != NO_PLATFORM and content in planning
        return is_planned and all(self.at(line, part).answer == Answer.YES for part in planning)

    def blob(self, line: Line, content: Content) -> Expected:
        """A blob that comes from any repository whose image is planned."""
        if content.reference in self.earlier:
            return Expected(Answer.YES)
        named = [other for other in self.plan.entries if content.reference in other.digests]
        sources = []
        for other in named:
            planned = Expected(Answer.YES) if other == line else self.planning(other)
            found = self.at(other, content)
            sources.append(Expected(min(planned.answer, found.answer), found.reasons))
        return any_of(sources)

    def _at(self, line: Line, content: Content) -> Expected:
        """Whether the registry of a line gives something, or its mirror."""
        registry = self.registry(line, content)
        if line.host != 0 or self.plan.mirrored is None:
            return registry
        return any_of([self.mirror(line, content), registry])

    def registry(self, line: Line, content: Content) -> Expected:
        state = self.plan.hosts[line.host]
        if state == "away":
            return Expected(Answer.NO, frozenset({"network"}))
        if state == "limited":
            return Expected(Answer.NO, frozenset({"rate limited"}))
        found = self.path(line.host, line, content)
        if state == "dying" or self.may_be_given_up(line.host):
            return Expected(min(found.answer, Answer.MAYBE), found.reasons | {"network"})
        return found

    def path(self, host: int, line: Line, content: Content) -> Expected:
        trouble = self.plan.faults.get((host, line.repository, content))
        if trouble is None or trouble.times is not None:
            return Expected(Answer.YES)
        reason = PERMANENT[trouble.kind]
        if trouble.kind == "cut" and content.is_document:
            reason = "network"
        return Expected(Answer.YES) if reason is None else Expected(Answer.NO, frozenset({reason}))

    def may_be_given_up(self, host: int) -> bool:
        silences = 0
        for line in self.plan.entries:
            trouble = self.plan.faults.get((host, line.repository, line.root))
            if line.host == host and trouble is not None and trouble.kind in SILENT:
                silences += 3 if trouble.times is None else trouble.times
        return silences >= _UNKNOWN_HOST_GIVEN_UP

    def mirror(self, line: Line, content: Content) -> Expected:
        """A mirror is asked once for each thing, and left alone after a failure."""
        state = self.plan.hosts[MIRROR]
        lines = [other for other in self.plan.at_mirror if other.repository == line.repository]
        has = any(content.reference in {other.tag, *map(str, all_digests(IMAGES[other.image]))} for other in lines)
        found = self.path(MIRROR, line, content)
        if state in ("away", "limited") or not has:
            return Expected(Answer.NO, frozenset({"network" if state == "away" else "not found", "rate limited"}))
        if found.answer == Answer.NO:
            return found
        calm = state == "well" and not any(host == MIRROR for host, _, _ in self.plan.faults)
        return Expected(Answer.YES) if calm else Expected(Answer.MAYBE, frozenset(_AT_MIRROR))


#: The last answer counts for content that no repository gives, also that of a mirror.
_AT_MIRROR = {reason for reason in PERMANENT.values() if reason}
