"""A tag may go when its job has put it, and it is known that no job chooses it any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from hangar_async.engine.jobs.candidates import find_candidates
from hangar_async.engine.jobs.report import ChosenJob, RepositoryChoice
from hangar_async.errors import NotFound
from hangar_async.jobfile.document import Place
from hangar_async.jobfile.jobs import Job, Prune, Source
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Digest, Reference
from hangar_async.state.hints import PutTag
from hangar_async.tags.patterns import Patterns
from hangar_async.tags.rules import Selection

HERE = Place("m.yaml", 1, 1)
TARGET, SOURCE = Reference("out.local", "app"), Reference("in.local", "team/app")
GONE = NotFound("gone", host="in.local", status=404)
LISTED = Selection(("v1", "v2"), ("v2",), ())
NOT_CHOSEN = "the job does not copy its repository any more (--prune-anyway removes it)"


def put(tag: str = "v1", target: str = "app", source: str = "in.local/team/app") -> PutTag:
    return PutTag(Reference("out.local", target, tag), Digest.of(tag.encode()), source)


def job(name: str = "apps", source: str = "team/app", to: str = "out.local/{name}", keep: str = "") -> Job:
    patterns = Patterns.parse([keep]) if keep else None
    return Job(name, HERE, (Source("in.local", source, HERE),), to=to, prune=Prune(patterns))


def choice(*tags: str, selection: Selection | None = LISTED, error: NotFound | None = None) -> RepositoryChoice:
    return RepositoryChoice(SOURCE, TARGET, tags, selection, error=error)


def chosen(job: Job, *choices: RepositoryChoice) -> ChosenJob:
    return ChosenJob(job, choices, (), ())


def found(
    own: ChosenJob,
    *puts: PutTag,
    more: Iterable[ChosenJob] = (),
    others: Iterable[Job] = (),
    failed: Iterable[str] = (),
    anyway: bool = False,
) -> dict[str, str]:
    """The reason of each candidate, by its tag."""
    candidates = find_candidates(own, puts, [own, *more], others, set(failed), anyway=anyway)
    return {one.put.target.tag or "": one.reason for one in candidates}


def test_tags_that_are_chosen_kept_or_of_referrers_are_no_candidates() -> None:
    own = chosen(job(keep="v0.*"), choice("v2"))
    tags = ("v1", "v2", "v0.7", f"sha256-{'0' * 64}", f"sha256-{'0' * 64}.sig", "latest")
    assert found(own, *map(put, tags)) == {"v1": "", "latest": ""}
    other = chosen(job("others"), choice("latest"))
    assert found(own, *map(put, tags), more=[other]) == {"v1": ""}


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ((choice("v2"),), ""),
        ((choice("v2", selection=None),), ""),
        ((choice(error=GONE, selection=None),), "the tags of its source could not be listed"),
        ((choice(selection=Selection((), (), ())),), "its source lists no tags"),
        ((RepositoryChoice(SOURCE, TARGET, error=GONE, pattern="in.local/team/*"),), "the repositories of its source"),
        ((), NOT_CHOSEN),
    ],
)
def test_what_the_job_must_know_of_the_source(choices: tuple[RepositoryChoice, ...], reason: str) -> None:
    (told,) = found(chosen(job(), *choices), put()).values()
    assert told.startswith(reason)
    assert bool(told) == bool(reason)


def test_a_repository_that_a_pattern_does_not_find_any_more_keeps_its_tags() -> None:
    own = chosen(job(source="team/*"))
    for anyway in (False, True):
        assert found(own, put(), anyway=anyway) == {"v1": "its source is not listed any more"}
    # The pattern finds it, and another target is in the file now.
    moved = chosen(job(source="team/*"), replace(choice("v2"), target=Reference("out.local", "other")))
    assert found(moved, put()) == {"v1": NOT_CHOSEN}
    assert found(moved, put(), anyway=True) == {"v1": ""}


def test_a_repository_that_the_file_does_not_name_any_more() -> None:
    own = chosen(job(source="team/other"))
    assert found(own, put()) == {"v1": NOT_CHOSEN}
    assert found(own, put(), anyway=True) == {"v1": ""}


def test_images_that_failed_keep_the_tags_of_their_repository() -> None:
    own = chosen(job(), choice("v2"))
    assert found(own, put(), failed=["out.local/app"]) == {"v1": "an image of its repository failed"}
    assert found(own, put(), failed=["out.local/other"]) == {"v1": ""}


def test_other_jobs_that_may_want_a_tag(tmp_path: Path) -> None:
    own = chosen(job(), choice("v2"))
    refused = chosen(job("others"), choice(error=GONE, selection=None))
    unlisted = RepositoryChoice(SOURCE, Reference("out.local", "x"), error=GONE, pattern="in.local/*")
    told = "job others may want it, and its tags could not be listed"
    assert found(own, put(), more=[refused]) == {"v1": told}
    assert found(own, put(), more=[chosen(job("others", "*"), unlisted)]) == {"v1": told}
    assert found(own, put(), more=[chosen(job("others", "*", "out.local/x/{name}"), unlisted)]) == {"v1": ""}
    told = "job others may want it, and is not run"
    assert found(own, put(), others=[job("others")]) == {"v1": told}
    assert found(own, put(), others=[job("others", to="out.local/x/{name}")]) == {"v1": ""}
    listed = Job("others", HERE, list=tmp_path / "list.txt")
    assert found(own, put(), others=[listed]) == {"v1": told}
    (tmp_path / "list.txt").write_text("in.local/a out.local/other v1\n")
    assert found(own, put(), others=[listed]) == {"v1": ""}
    for line in ("in.local/a out.local/app v3", "in.local/a out.local/other v3\nin.local/a out.local/app v1 oops"):
        (tmp_path / "list.txt").write_text(f"{line}\n")
        assert found(own, put(), others=[listed]) == {"v1": told}


def test_a_job_with_a_list() -> None:
    listed = Job("pinned", HERE, list=Path("list.txt"), prune=Prune())
    entry = MirrorEntry(1, "", replace(SOURCE, tag="v2"), replace(TARGET, tag="v2"))
    assert found(ChosenJob(listed, (), (), (entry,)), put(), put("v2")) == {"v1": ""}
    assert found(ChosenJob(listed, (), (), ()), put()) == {"v1": "its list is empty"}
    unclear = ChosenJob(listed, (), (), (entry,), has_invalid=True)
    assert found(unclear, put(), put("v2"), anyway=True) == {"v1": "its list has invalid lines"}
    told = "job pinned may want it, and its list has invalid lines"
    assert found(chosen(job(), choice("v2")), put(), more=[unclear]) == {"v1": told}
    assert found(ChosenJob(listed, (), (), (entry,)), put(target="other")) == {"v1": NOT_CHOSEN}
