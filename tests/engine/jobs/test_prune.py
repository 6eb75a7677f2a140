"""Tags are deleted where their job has put them, and nothing says that they are still wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import given, strategies as st

from hangar_async.engine.jobs.candidates import Candidate, find_candidates
from hangar_async.engine.jobs.prune import Pruner
from hangar_async.engine.jobs.report import ChosenJob, RepositoryChoice
from hangar_async.engine.outcomes import PrunedTag
from hangar_async.errors import NetworkError, NotFound
from hangar_async.jobfile.document import Place
from hangar_async.jobfile.jobs import Job, Prune, Source
from hangar_async.oci import Descriptor, Digest, Reference
from hangar_async.registry.lists import TagPage
from hangar_async.state.hints import NO_STATE, PutTag
from hangar_async.tags.patterns import Patterns
from hangar_async.tags.rules import Selection

_T = TypeVar("_T")
TAGS = [f"v{number}" for number in range(7)]
DIGESTS = [Digest.of(bytes([number])) for number in range(4)]
HERE, SOURCE, TARGET = Place("m.yaml", 1, 1), Reference("in.local", "app"), Reference("out.local", "app")
BROKEN = NetworkError("out.local: broken", host="out.local")


@dataclass
class Registry:
    """A registry as both clients: its tags, the requests that fail, and what was deleted."""

    tags: dict[str, Digest]
    lists: bool = True
    broken: frozenset[str] = frozenset()
    deletes: bool = True
    #: The DELETEs whose answers are lost.
    lost: int = 0
    #: The image that each tag names when it is asked for once more.
    moves: Digest | None = None
    deleted: dict[str, Digest] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)

    async def list_tags(self, image: Reference, *_: object) -> TagPage:
        if not self.lists:
            raise BROKEN
        return TagPage(tuple(self.tags))

    async def head_manifest(self, image: Reference, *_: object) -> Descriptor | None:
        if self.moves is not None and image.tag in self.heads:
            self.tags[image.tag or ""] = self.moves
        self.heads.append(image.tag or "")
        if image.tag in self.broken:
            raise BROKEN
        digest = self.tags.get(image.tag or "")
        return None if digest is None else Descriptor("x/y", digest, 1)

    async def delete_tag(self, image: Reference) -> bool:
        if self.deletes:
            self.deleted[image.tag or ""] = self.tags.pop(image.tag or "")
        if self.lost:
            self.lost -= 1
            raise BROKEN
        return self.deletes

    async def call(self, subject: str, registry: str, request: Callable[[], Awaitable[_T]]) -> _T:
        try:
            return await request()
        except NetworkError:
            if not self.deleted:
                raise
            return await request()


def put(tag: str, digest: Digest) -> PutTag:
    return PutTag(Reference("out.local", "app", tag), digest, "in.local/app")


async def prune(
    registry: Registry,
    candidates: list[Candidate],
    rules: Prune = Prune(number=9),  # noqa: B008 - it is immutable
    *,
    known: Mapping[str, Digest] | None = None,
    dry: bool = False,
    anyway: bool = False,
    notices: list[str] | None = None,
) -> dict[str, PrunedTag]:
    client: Any = registry
    notice = list[str]().append if notices is None else notices.append
    tags = {("out.local/app", tag): digest for tag, digest in (known or {}).items()}
    pruner = Pruner((client, client), NO_STATE, tags, 3, notice, dry=dry, anyway=anyway)
    return {one.target.tag or "": one for one in await pruner.prune(rules, candidates)}


MAPPINGS = st.dictionaries(st.sampled_from(TAGS), st.sampled_from(DIGESTS))


@given(
    there=MAPPINGS,
    owned=MAPPINGS,
    listed=st.none() | st.lists(st.sampled_from(TAGS), unique=True),
    named=st.sets(st.sampled_from(TAGS)),
    keep=st.sampled_from(["", "v3", "v[01]"]),
    rules=st.builds(Prune, number=st.none() | st.integers(1, 4), percent=st.integers(1, 100)),
    lists=st.booleans(),
    broken=st.frozensets(st.sampled_from(TAGS), max_size=1),
    dry=st.booleans(),
    anyway=st.booleans(),
)
def test_nothing_is_deleted_that_might_be_wanted(
    there: dict[str, Digest],
    owned: dict[str, Digest],
    listed: list[str] | None,
    named: set[str],
    keep: str,
    rules: Prune,
    lists: bool,
    broken: frozenset[str],
    dry: bool,
    anyway: bool,
) -> None:
    patterns = Patterns.parse([keep]) if keep else None
    rules = Prune(patterns, rules.number, rules.percent)
    chosen = tuple(tag for tag in listed or () if tag in named)
    if listed is None:
        choice = RepositoryChoice(SOURCE, TARGET, error=NotFound("gone", host="in.local", status=404))
    else:
        choice = RepositoryChoice(SOURCE, TARGET, chosen, Selection(tuple(listed), chosen, ()))
    job = Job("apps", HERE, (Source("in.local", "app", HERE),), to="out.local/app", prune=rules)
    own = ChosenJob(job, (choice,), (), ())
    registry = Registry(dict(there), lists, broken)
    puts = [put(tag, digest) for tag, digest in owned.items()]
    candidates = find_candidates(own, puts, [own], [], set(), anyway=anyway)
    outcomes = asyncio.run(prune(registry, candidates, rules, dry=dry, anyway=anyway))
    deleted = set(registry.deleted)
    for tag in deleted:
        assert there[tag] == owned[tag]
        assert tag not in chosen
        assert not (patterns and patterns.matches(tag))
        assert registry.deleted[tag] not in registry.tags.values()
        assert outcomes[tag].state == "deleted"
    assert not deleted or (listed and lists and not dry)
    assert anyway or rules.allows(len(deleted), len(there))
    # And what should go is gone.
    kept = {tag for tag in owned if tag in chosen or (patterns and patterns.matches(tag))}
    going = {tag for tag, digest in owned.items() if there.get(tag) == digest} - kept
    stay = {digest for tag, digest in there.items() if tag not in going}
    going = {tag for tag in going if owned[tag] not in stay}
    if listed and lists and not broken and not dry and (anyway or rules.allows(len(going), len(there))):
        assert deleted == going


async def test_each_tag_that_stays_is_told_with_its_reason() -> None:
    one, two, three, four = DIGESTS
    there = {"moved": two, "same": three, "other": three, "going": one, f"sha256-{'0' * 64}.sig": four}
    registry, notices = Registry(there), list[str]()
    wanted = [Candidate(put("listed", one), "its source lists no tags")]
    wanted += [Candidate(put(tag, digest)) for tag, digest in (("moved", one), ("same", three), ("going", one))]
    wanted += [Candidate(put("gone", one))]
    outcomes = await prune(registry, wanted, notices=notices)
    assert {tag: (outcome.state, outcome.reason) for tag, outcome in outcomes.items()} == {
        "listed": ("left", "its source lists no tags"),
        "moved": ("left", f"another program has put it: it is {two}"),
        "same": ("left", "other names the same image, and stays"),
        "going": ("deleted", ""),
    }
    assert notices == [f"out.local/app:going is deleted, and was {one}"]


async def test_tags_that_the_run_has_seen_are_not_asked_for() -> None:
    one, two, *_ = DIGESTS
    registry = Registry({"seen": two, "same": two, "going": one})
    wanted = [Candidate(put("going", one)), Candidate(put("same", two))]
    outcomes = await prune(registry, wanted, known={"seen": two})
    assert (outcomes["going"].state, outcomes["same"].reason) == ("deleted", "seen names the same image, and stays")
    assert "seen" not in registry.heads


async def test_a_tag_of_another_program_keeps_the_other_tags_of_its_image() -> None:
    one, two, *_ = DIGESTS
    registry = Registry({"v1": one, "v2": one})
    outcomes = await prune(registry, [Candidate(put("v1", one)), Candidate(put("v2", two))])
    assert outcomes["v1"].reason == "v2 names the same image, and stays"
    assert not registry.deleted


async def test_a_tag_that_moves_while_it_is_looked_at_stays() -> None:
    one, two, *_ = DIGESTS
    registry = Registry({"v1": one, "v2": two}, moves=two)
    outcomes = await prune(registry, [Candidate(put("v1", one))])
    assert outcomes["v1"].reason == f"another program has put it: it is {two}"


async def test_a_dry_run_names_what_would_go() -> None:
    registry = Registry({"v1": DIGESTS[0], "v2": DIGESTS[1]})
    outcomes = await prune(registry, [Candidate(put("v1", DIGESTS[0])), Candidate(put("v2", DIGESTS[0]))], dry=True)
    assert {tag: outcome.state for tag, outcome in outcomes.items()} == {"v1": "planned", "v2": "left"}
    assert not registry.deleted


async def test_more_than_a_job_allows_fails() -> None:
    registry = Registry(dict(zip(TAGS[:4], DIGESTS, strict=True)))
    wanted = [Candidate(put(tag, digest)) for tag, digest in list(registry.tags.items())[:3]]
    outcomes = await prune(registry, wanted, Prune(percent=50))
    assert {(one.state, one.reason) for one in outcomes.values()} == {
        ("failed", "3 of the 4 tags there are more than at-most 50% (--prune-anyway)")
    }
    outcomes = await prune(registry, wanted, Prune(percent=50), anyway=True)
    assert len(registry.deleted) == len(outcomes) == 3


async def test_a_registry_that_deletes_no_tags_is_asked_once() -> None:
    registry = Registry({"v1": DIGESTS[0], "v2": DIGESTS[1], "v3": DIGESTS[2]}, deletes=False)
    outcomes = await prune(registry, [Candidate(put(tag, registry.tags[tag])) for tag in ("v1", "v2")])
    assert {(one.state, one.reason) for one in outcomes.values()} == {("left", "out.local deletes no tags")}
    assert registry.heads == ["v1", "v2", "v3", "v1"]


async def test_a_repository_that_lists_no_tags_keeps_them_and_a_list_that_fails_is_told() -> None:
    wanted = [Candidate(put("v1", DIGESTS[0]))]
    assert (await prune(Registry({}), wanted))["v1"].reason == "its repository lists no tags"
    outcome = (await prune(Registry({"v1": DIGESTS[0]}, lists=False), wanted))["v1"]
    assert (outcome.state, outcome.reason) == ("failed", "out.local: broken")
    broken = Registry({"v1": DIGESTS[0], "v2": DIGESTS[1]}, broken=frozenset(["v1"]))
    assert (await prune(broken, wanted))["v1"].state == "failed"


async def test_a_tag_whose_deletion_got_no_answer_is_deleted() -> None:
    registry = Registry({"v1": DIGESTS[0], "v2": DIGESTS[1]}, lost=1)
    assert (await prune(registry, [Candidate(put("v1", DIGESTS[0]))]))["v1"].state == "deleted"
    assert registry.tags == {"v2": DIGESTS[1]}


@pytest.mark.parametrize("number", [1, 2])
async def test_two_tags_of_one_image_may_go_together(number: int) -> None:
    registry = Registry({"v1": DIGESTS[0], "v2": DIGESTS[0], "v3": DIGESTS[1]})
    wanted = [Candidate(put(tag, DIGESTS[0])) for tag in TAGS[1 : number + 1]]
    states = {one.state for one in (await prune(registry, wanted)).values()}
    assert states == ({"deleted"} if number == 2 else {"left"})
