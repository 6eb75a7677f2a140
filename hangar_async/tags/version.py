"""Versions in tags: `v1.27.3-rc1-alpine3.20` is 1.27.3, a prerelease, of the variant `alpine3.20`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from operator import eq, ge, gt, le, lt
from typing import NamedTuple, TypeAlias

from hangar_async.errors import InvalidValue

#: The order of versions: the numbers without zeros at the end, prereleases before the release, and the build.
Key: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], int]

#: The words that a prerelease begins with, in their order in time. Python has `a` and `b` for `alpha` and `beta`.
_RANKS = {"dev": 0, "snapshot": 0, "nightly": 0, "alpha": 1, "a": 1, "beta": 2, "b": 2, "pre": 3, "rc": 4}
_RELEASE = (len(_RANKS),)
_TAG = re.compile(
    # No date, and no hash.
    r"(?!v?(?:19|20)\d\d(?P<dash>-?)(?:0[1-9]|1[0-2])(?P=dash)(?:0[1-9]|[12]\d|3[01])(?:\d\d){0,3}(?!\d))"
    r"(?![0-9a-f]{7,64}(?![\w.]))"
    r"[vV]?(?P<numbers>\d+(?:\.\d+)*)(?P<ending>.*)",
    re.ASCII,
)
_ENDING = re.compile(
    # Builds of Java: `21.0.4_7`, `8u422-b05`.
    r"(?:_(?P<build>\d+)(?![\w.])|u(?P<update>\d+)(?:-b(?P<update_build>\d+))?(?![a-z\d]))?"
    r"(?:[-_.]?(?P<word>rc|alpha|beta|pre(?:view|release)?|dev|snapshot|nightly)(?![a-z])(?P<count>[.-]?\d+(?:\.\d+)*)?"
    r"|(?P<letter>[ab])(?P<letter_count>\d+)(?![a-z\d.]))?"
    r"(?P<rest>.*)",
    re.IGNORECASE | re.ASCII,
)
#: Tags of signatures and of other referrers, which follow their image.
_REFERRER = re.compile(r"sha(?:256|512)-[0-9a-f]{64,128}(?:\.(?:sig|att|sbom))?", re.ASCII)
_COMPARE = {">=": ge, ">": gt, "<=": le, "<": lt, "=": eq}
_COMPARISON = re.compile(r"(?P<operator>>=|<=|>|<|=|)\s*v?(?P<numbers>\d+(?:\.\d+){0,9})", re.ASCII)


def is_referrer(tag: str) -> bool:
    """Tell whether a tag names a signature, an attestation, an SBOM or other referrers of an image."""
    return tag.startswith("sha") and _REFERRER.fullmatch(tag) is not None


class Version(NamedTuple):
    """The version of a tag: its text and its numbers, then a prerelease and a variant, "" for none.

    `has_build` tells whether a build follows the numbers, `has_count` whether a number follows the prerelease's word.
    """

    text: str
    numbers: tuple[int, ...]
    has_build: bool
    prerelease: str
    has_count: bool
    variant: str
    key: Key

    @classmethod
    def of(cls, tag: str) -> Version | None:
        """Read the version of a tag; None for a tag without one, such as a word, a date or a hash."""
        match = _TAG.fullmatch(tag)
        if match is None:
            return None
        numbers, ending = _numbers(match["numbers"]), _ending(match["ending"])
        if ending.update is not None:
            numbers = (*numbers, ending.update)
        key = (_without_zeros(numbers), ending.order, ending.build or 0)
        text = tag[: len(tag) - ending.rest]
        return cls(
            text, numbers, ending.build is not None, ending.prerelease, len(ending.order) > 1, ending.variant, key
        )

    def __str__(self) -> str:
        return self.text


class _Ending(NamedTuple):
    """The text of a tag behind its numbers; `rest` is the length of what is left of it for the variant."""

    update: int | None
    build: int | None
    prerelease: str
    order: tuple[int, ...]
    variant: str
    rest: int


# The tags of a repository share few endings.
@lru_cache(maxsize=4096)
def _ending(text: str) -> _Ending:
    match = _ENDING.fullmatch(text)
    part = match.groupdict("") if match else {}
    build, update, rest = part["build"] or part["update_build"], part["update"], part["rest"]
    word, count = part["word"] or part["letter"], part["count"] or part["letter_count"]
    order: tuple[int, ...] = _RELEASE
    if word:
        rank = _RANKS["pre" if word.lower().startswith("pre") else word.lower()]
        order = (rank, *_numbers(count.strip("-.")))
    return _Ending(
        int(update) if update else None,
        int(build) if build else None,
        word + count,
        order,
        rest.lstrip("-_."),
        len(rest),
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("."))) if text else ()


def _without_zeros(numbers: tuple[int, ...]) -> tuple[int, ...]:
    end = len(numbers)
    while end and not numbers[end - 1]:
        end -= 1
    return numbers[:end]


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A range of versions, such as `>=1.25 <4`: comparisons that must all hold.

    Each compares as many numbers as it has: `<=1.25` and `1.25` hold for 1.25.9, and `>1.25` does not. A prerelease has
    the numbers of its release.
    """

    text: str
    comparisons: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def parse(cls, text: str) -> VersionRange:
        """Read comparisons separated by spaces; raises InvalidValue."""
        comparisons = []
        # An operator may stand apart from its number.
        for part in re.sub(r"(>=|<=|>|<|=)\s+", r"\1", text.replace(",", " ")).split():
            match = _COMPARISON.fullmatch(part)
            if match is None:
                raise InvalidValue(
                    f"{part[:100]!r} is no comparison of versions: write >=, >, <=, < or =, as in '>=1.25 <4'"
                )
            comparisons.append((match["operator"] or "=", _numbers(match["numbers"])))
        if not comparisons:
            raise InvalidValue("a range of versions is empty: write comparisons, as in '>=1.25 <4'")
        return cls(text, tuple(comparisons))

    def holds(self, version: Version) -> bool:
        """Tell whether a version is in the range."""
        numbers = version.numbers
        for operator, limit in self.comparisons:
            length = len(limit)
            compared = numbers[:length] if len(numbers) >= length else numbers + (0,) * (length - len(numbers))
            if not _COMPARE[operator](compared, limit):
                return False
        return True

    def __str__(self) -> str:
        return self.text
