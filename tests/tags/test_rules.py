from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings, strategies as st

from hangar_async.errors import InvalidValue
from hangar_async.tags.rules import Selection, TagRules, after_times, before_times, select
from tests.tags.lists import CHOICES, CUDA, GRAFANA, K3S, NGINX, Choice
from tests.tags.rig import NOW, rules_of

TAGS = NGINX.split()


def choose(rules: TagRules, tags: str = NGINX) -> Selection:
    return select(rules, tags.split(), NOW)


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.chosen)
def test_the_rules_choose(choice: Choice) -> None:
    selection = choose(rules_of(**choice.rules), choice.tags)
    assert sorted(selection.chosen) == sorted(choice.chosen.split())
    assert selection.missing == ()


def test_without_rules_only_signatures_and_prereleases_are_left_out() -> None:
    selection = choose(TagRules(), f"{NGINX} 1.28.0-rc1")
    assert [(step.name, len(step.fallen)) for step in selection.steps] == [("signatures", 3), ("prereleases", 1)]
    assert len(selection.chosen) == len(TAGS) - 3


@pytest.mark.parametrize("tags", [K3S, CUDA])
def test_versions_that_all_have_a_variant_are_an_error_that_lists_them(tags: str) -> None:
    with pytest.raises(InvalidValue, match=r"name those that you want in `variants`; there are .*(k3s1|devel-ubi8)"):
        choose(rules_of(newest=2), tags)


def test_a_long_list_of_variants_is_cut() -> None:
    with pytest.raises(InvalidValue, match=r"there are v10, .*, v21, \.\.\.$"):
        choose(rules_of(newest=2), " ".join(f"1.0-v{number}" for number in range(10, 40)))


def test_a_floating_tag_is_judged_by_all_tags() -> None:
    assert choose(rules_of(match="1.27", version=">=1")).chosen == ()
    assert choose(rules_of(version=">=1"), "1.27").chosen == ("1.27",)


def test_equal_versions_come_together() -> None:
    assert choose(rules_of(newest=1), "v1.2.3 1.2.3 1.2.2").chosen == ("v1.2.3", "1.2.3")


def test_a_prerelease_that_is_named_is_chosen() -> None:
    assert choose(rules_of(match="1.28.0-rc1 1.27.*"), "1.28.0-rc1 1.28.0-rc2 1.27.1-rc1").chosen == ("1.28.0-rc1",)


def test_names_that_are_missing() -> None:
    selection = choose(rules_of(match="1.27 1.2 latest*", also="newest"))
    assert selection.chosen == ("1.27", "latest")
    assert selection.missing == ("1.2", "newest")


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        (rules_of(match="1.27 latest", also="stable 1.27"), ("1.27", "latest", "stable")),
        (rules_of(match="1.27 1.28", exclude="*8", also="1.8"), ("1.27", "1.8")),
        (rules_of(match="1.27*"), None),
        (rules_of(match="1.27", newest=1), None),
        (rules_of(match="1.27", days=3), None),
        (rules_of(also="1.27"), None),
    ],
)
def test_the_names_of_rules_that_need_no_list(rules: TagRules, names: tuple[str, ...] | None) -> None:
    assert rules.names == names


def test_newer_than_asks_for_the_times_of_its_candidates_alone() -> None:
    rules = rules_of(version="1.27", days=30, newest=1)
    candidates = before_times(rules, TAGS)
    assert candidates.chosen == ("1.27.0", "1.27.1", "1.27.2")
    times = {"1.27.0": NOW - timedelta(31), "1.27.1": NOW - timedelta(29), "1.27.2": None}
    selection = after_times(rules, candidates, NOW, times)
    assert selection.chosen == ("1.27.1",)
    assert selection.explain("1.27.0")[-2:] == [
        "newer-than 30d: falls: it was created at 2026-10-01 00:00",
        "not chosen",
    ]
    assert selection.explain("1.27.2")[-2] == "newer-than 30d: falls: its registry does not tell its time"


@pytest.mark.parametrize(
    ("tag", "last"),
    [
        ("1.27.2", "newest 1 per minor: passes"),
        ("1.27.1", "newest 1 per minor: falls: 1 newer versions are there of 1.27"),
        ("1.26.2", "version >=1.27: falls: 1.26.2 is not in the range"),
        ("1.27", "stays: falls: it floats: 1.27.0 continues its numbers"),
        ("1.27.2-alpine", 'variants "": falls: its variant is alpine'),
        ("latest", "has a version: falls: it has no version"),
        ("main", "match 1*, latest: falls: no pattern matches it"),
        (f"sha256-{'0a' * 32}.sig", "signatures: falls: it names a signature or another referrer of an image"),
        ("1.28.0-rc1", "prereleases: falls: rc1 is a prerelease"),
        ("1.29.0", "exclude *.29.*: falls: a pattern matches it"),
    ],
)
def test_a_tag_is_explained(tag: str, last: str) -> None:
    rules = rules_of(match="1* latest", version=">=1.27", exclude="*.29.*", newest=1, per="minor")
    selection = choose(rules, f"{NGINX} 1.28.0-rc1 1.29.0 main")
    assert selection.explain(tag)[-2:] == [last, "chosen" if last.endswith("passes") else "not chosen"]


def test_a_tag_that_also_names_or_that_is_not_there_is_explained() -> None:
    selection = choose(rules_of(version="2", also="latest"), GRAFANA)
    assert selection.explain("latest")[-2:] == ["has a version: falls: it has no version", "chosen: also names it"]
    assert selection.explain("newest") == ["the registry does not list it among its 18 tags", "not chosen"]


POOL = """
1 1.0 1.1 v1.1 1.1.0 1.1.1 1.1.1-a 1.1-a 1-a 1.2 1.2.0-rc1 1.2-rc 1.2-rc1-a v1.10.3 2 2.0.1 v2.1 2.1-b 2.1_3-b 2.2-b
2.2.2-rc2 latest edge 20240101 20240201
"""
tags = st.lists(st.sampled_from(POOL.split()), max_size=20)
patterns = st.sampled_from(["", "v*", "1* 2*", "*-a latest", "1.2"])
rules = st.builds(
    rules_of,
    match=patterns,
    version=st.sampled_from(["", ">=1.1", "1", ">1 <2.2"]),
    variants=st.sampled_from(["*", "- a", "a"]),
    prereleases=st.booleans(),
    exclude=patterns,
    newest=st.sampled_from([None, 1, 2]),
    per=st.sampled_from([None, "major", "minor"]),
    also=st.sampled_from(["", "latest", "edge 1.2"]),
)


@given(rules, tags)
@settings(max_examples=40)
def test_each_tag_is_chosen_or_falls_at_one_filter(rules: TagRules, tags: list[str]) -> None:
    selection = select(rules, tags, NOW)
    fallen = [tag for step in selection.steps for tag in step.fallen]
    assert len(set(fallen)) == len(fallen)
    left = set(selection.listed) - set(fallen)
    assert set(selection.chosen) == left | (set(rules.also) & set(tags))
    for tag in selection.listed:
        assert (selection.explain(tag)[-1] == "not chosen") == (tag not in selection.chosen)


@given(rules, tags, st.integers())
@settings(max_examples=40)
def test_the_order_of_the_list_does_not_matter(rules: TagRules, tags: list[str], seed: int) -> None:
    shuffled = sorted(tags, key=lambda tag: hash((tag, seed)))
    assert set(select(rules, tags, NOW).chosen) == set(select(rules, shuffled, NOW).chosen)


@given(rules, tags)
@settings(max_examples=40)
def test_a_filter_less_chooses_no_fewer_tags(rules: TagRules, tags: list[str]) -> None:
    chosen = set(select(rules, tags, NOW).chosen)
    for looser in (replace(rules, newest=None), replace(rules, newest=None, exclude=None)):
        assert chosen <= set(select(looser, tags, NOW).chosen)


@given(rules, tags)
@settings(max_examples=40)
def test_newest_keeps_its_number_of_versions_in_each_line(rules: TagRules, tags: list[str]) -> None:
    one, two = (replace(rules, newest=count, also=()) for count in (1, 2))
    assert set(select(one, tags, NOW).chosen) <= set(select(two, tags, NOW).chosen)
