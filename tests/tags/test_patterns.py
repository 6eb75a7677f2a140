from __future__ import annotations

import pytest

from hangar_async.errors import InvalidValue
from hangar_async.tags.patterns import Patterns


@pytest.mark.parametrize(
    ("patterns", "matched"),
    [
        (["v1.*"], "v1.2 v1.10-rc1"),
        (["v?.2", "latest"], "v1.2 latest"),
        ([r"/v\d+\.\d+/"], "v1.2"),
        (["/(?i)LATEST/", r"/(.)\1.*/"], "latest"),
        (["*[!0-9]"], "latest"),
        ([], ""),
    ],
)
def test_a_pattern_matches_the_whole_tag(patterns: list[str], matched: str) -> None:
    found = [tag for tag in ("v1.2", "v1.10-rc1", "latest") if Patterns.parse(patterns).matches(tag)]
    assert found == matched.split()


def test_literals_are_the_patterns_of_one_tag() -> None:
    assert Patterns.parse(["v1", "v1.*", "/v1/", "v?", "1.2"]).literals == ("v1", "1.2")


@pytest.mark.parametrize("text", ["", "a/b", "nginx:1.27", "a b", "/[/", "v[1-", "v1]", "[]", "[[a]]"])
def test_a_pattern_that_matches_no_tag_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"matches no tag|is no regular expression"):
        Patterns.parse([text])


def test_the_empty_text_is_a_pattern_of_variants_alone() -> None:
    assert Patterns.parse(["", "alpine*"], empty=True).matches("")
    assert str(Patterns.parse(["", "alpine*"], empty=True)) == '"", alpine*'
