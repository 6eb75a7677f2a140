"""Options of images at registries are checked when they are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.target_options import ConvertListOptions, LoadOptions, MirrorOptions
from hangar_async.errors import UsageError


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"index": "some"}, r"unknown word 'some' \(--index\): write original, partial or auto"),
        ({"overwrite": "always"}, r"unknown word 'always' \(--overwrite\): write moved or never"),
        ({"architectures": ["a/b/c/d"]}, "not an architecture"),
        ({"source": "https://reg"}, "--source: "),
        ({"requests": 0}, "--requests is 0"),
        ({"template": "reg.local/{tag}"}, "--to "),
        ({"destination": "reg.local", "template": "reg.local/{name}"}, "write one of them"),
    ],
)
def test_a_mirror_that_cannot_be_right(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MirrorOptions(images=["a"], **keywords)


def test_the_environment_names_what_the_options_do_not() -> None:
    environment = Environment(source_registry="in.local", destination_registry="out.local/x")
    names = MirrorOptions(images=["a"], environment=environment).names
    assert (names.source, str(names.naming)) == ("in.local", "out.local/x")
    template = MirrorOptions(images=["a"], template="reg.local/{name}", environment=environment).names
    assert str(template.naming) == "reg.local/{name}"


@pytest.mark.parametrize(
    ("architectures", "systems", "everything"),
    [(["all"], ["all"], True), (["all"], [], True), (["all"], ["linux"], False), (["amd64"], ["all"], False)],
)
def test_a_mirror_of_all_platforms(architectures: list[str], systems: list[str], everything: bool) -> None:
    assert MirrorOptions(images=["a"], architectures=architectures, systems=systems).takes_all == everything


def test_an_index_of_a_load() -> None:
    source = Path("x")
    assert LoadOptions(source=source, destination="r.local").index_mode == "partial"
    assert LoadOptions(source=source, destination="r.local", sparse_index=True).index_mode == "original"
    with pytest.raises(UsageError, match="--index"):
        LoadOptions(source=source, destination="r.local", index="none")


def test_a_converted_list_has_a_name() -> None:
    assert ConvertListOptions(images=Path("a.txt")).target == Path("a.txt.converted")
    with pytest.raises(UsageError, match="--output"):
        ConvertListOptions(images=["a"])
