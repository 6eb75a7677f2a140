"""Comparing by digests: at the far side after a load, at the source after a save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hangar_async.engine.events import Event, ImageEnded, Notice
from hangar_async.engine.reports import ComparisonReport
from hangar_async.engine.save import save
from hangar_async.errors import ContentError, Differs, NetworkError, NotFound
from hangar_async.layout.files import blob_name
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import Built, index
from tests.engine.forms import FORMS, Saved
from tests.engine.loading import run_load, run_validate
from tests.engine.rig import options, run
from tests.failed_list import names_in
from tests.fakes.faults import Close, Status
from tests.fakes.images import ARM64, small
from tests.fakes.registry import FakeRegistry

MULTI = "library/multi"


@pytest.mark.parametrize("form", FORMS)
async def test_loaded_images_are_the_same(
    form: str, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    before = await run_validate(tmp_path, everything.at(form), pushable_registry)
    assert len(before.failed) == len(everything.built)
    assert all(type(one.error) is Differs for one in before.failed)
    assert names_in(tmp_path / "load-failed.txt") == [one.image.name for one in before.comparisons]
    await run_load(tmp_path, everything.at(form), pushable_registry)
    asked = len(pushable_registry.requests)
    after = await run_validate(tmp_path, everything.at(form), pushable_registry)
    assert [str(one.error) for one in after.failed] == []
    assert after.status == 0
    assert not (tmp_path / "load-failed.txt").exists()
    # Nothing is fetched, and nothing is sent.
    questions = [one for one in pushable_registry.requests[asked:] if one.path != "/v2/"]
    assert {one.method for one in questions} == {"HEAD"}
    assert not any("/blobs/" in one.path for one in questions)


async def loaded(everything: Saved, to: FakeRegistry, tmp_path: Path) -> None:
    report = await run_load(tmp_path, everything.at("gzip"), to, images=["multi"])
    assert report.status == 0


async def differs(everything: Saved, to: FakeRegistry, tmp_path: Path) -> str:
    report: ComparisonReport = await run_validate(tmp_path, everything.at("gzip"), to, images=["multi"])
    [failed] = report.failed
    assert type(failed.error) is Differs
    assert report.status == 1
    assert report.failed_list is not None
    return str(failed.error)


def multi(everything: Saved) -> list[Digest]:
    """The digests of an index of three platforms: of its manifests, and its own."""
    return list(next(built for name, built in everything.built.items() if name.endswith("/multi:1")).documents)


async def test_a_tag_that_is_not_there(everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    await loaded(everything, pushable_registry, tmp_path)
    pushable_registry.content.remove(MULTI, multi(everything)[-1])
    assert await differs(everything, pushable_registry, tmp_path) == "it is not there"


async def test_a_platform_that_is_not_there(everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    await loaded(everything, pushable_registry, tmp_path)
    arm = multi(everything)[1]
    pushable_registry.content.remove(MULTI, arm)
    assert await differs(everything, pushable_registry, tmp_path) == f"linux/arm64/v8, manifest {arm}, is not there"


async def test_a_tag_that_names_something_else(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    await loaded(everything, pushable_registry, tmp_path)
    other = small("other")
    pushable_registry.add(f"{MULTI}:1", other)
    here = multi(everything)[-1]
    assert await differs(everything, pushable_registry, tmp_path) == f"there it is {other.digest}, here {here}"


async def test_a_tag_that_names_an_index_of_more(
    partial: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """Of what was loaded by others: that is no difference."""
    await run_load(tmp_path, partial.at("gzip"), pushable_registry)
    name = next(one for one in partial.built if one.endswith("/multi:1"))
    pushable_registry.add(f"{MULTI}:1", partial.built[name])
    assert (await run_validate(tmp_path, partial.at("gzip"), pushable_registry)).status == 0
    # The whole index is no part of what is held: a part of it is not the same.
    both = list(partial.built[name].documents)
    pushable_registry.add(f"{MULTI}:1", index([small("a"), small("b", platform=ARM64)]))
    report = await run_validate(tmp_path, partial.at("gzip"), pushable_registry)
    assert [one.image.name for one in report.failed] == [name]
    assert str(both[-1]) in str(report.failed[0].error)


async def test_an_unanswered_comparison_is_no_difference(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    await loaded(everything, pushable_registry, tmp_path)
    pushable_registry.fail("/manifests/1$", Close(), times=None)
    report = await run_validate(tmp_path, everything.at("gzip"), pushable_registry, images=["multi"])
    assert isinstance(report.failed[0].error, NetworkError)
    assert report.status == 1


async def test_damaged_images_of_the_source_are_not_compared(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    await run_load(tmp_path, everything.at("dir"), pushable_registry)
    copy = everything.copy("dir", tmp_path)
    built = next(built for name, built in everything.built.items() if name.endswith("/oci:1"))
    lost = next(digest for digest in built.blobs if all(digest not in one.blobs for one in others(everything, built)))
    (copy / blob_name(lost)).unlink()
    report = await run_validate(tmp_path, copy, pushable_registry)
    # It is there by its digest too.
    assert {one.image.name for one in report.failed} == {name for name, one in everything.built.items() if one is built}
    for failed in report.failed:
        assert type(failed.error) is ContentError
        assert str(lost) in str(failed.error)
        assert "verify" in failed.error.advice


def others(everything: Saved, built: Built) -> list[Built]:
    return [one for one in everything.built.values() if one is not built]


async def test_an_archive_that_does_not_know_the_whole_index(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """One of Hangar's: what it holds of an image is looked for in the index that is there."""
    name = next(one for one in everything.built if one.endswith("/multi:1"))
    source = everything.at("hangar-gzip")
    await run_load(tmp_path, source, pushable_registry, images=["multi:1"])
    pushable_registry.add(f"{MULTI}:1", everything.built[name])
    assert (await run_validate(tmp_path, source, pushable_registry, images=["multi:1"])).status == 0
    # An index that cannot be read holds nothing that is known.
    pushable_registry.add(f"{MULTI}:1", index([small("a"), small("b", platform=ARM64)]))
    html = Status(200, {"Content-Type": "text/html"}, b"<html>log in</html>")
    pushable_registry.fail("/manifests/1$", html, method="GET", times=None)
    [failed] = (await run_validate(tmp_path, source, pushable_registry, images=["multi:1"])).failed
    assert type(failed.error) is Differs
    assert str(failed.error).startswith("there it is sha256:")


async def test_nothing_is_a_registry_there(everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    pushable_registry.fail("", Status(404), times=None)
    with pytest.raises(NotFound, match="is no registry"):
        await run_validate(tmp_path, everything.at("gzip"), pushable_registry)


@pytest.mark.parametrize("keywords", [{"format": "gzip"}, {"format": "zstd", "part_size": 3000}, {"format": "dir"}])
async def test_a_save_that_is_compared(keywords: dict[str, Any], two_images: FakeRegistry, tmp_path: Path) -> None:
    """One platform of two: the digest of the whole is known, and what was chosen is asked for."""
    lines = [f"{two_images.address}/app:v1", f"{two_images.address}/other:v1", f"{two_images.address}/gone:v1"]
    report = await run(tmp_path, *lines, architectures=["amd64"], validate=True, **keywords)
    assert report.validated
    assert [type(outcome.error) for outcome in report.failed] == [NotFound]
    assert len(report.saved) == 2


async def test_a_tag_that_has_moved_since(two_images: FakeRegistry, tmp_path: Path) -> None:
    """It is told, and the line is in the list to be saved again."""
    lines = [f"{two_images.address}/app:v1", f"{two_images.address}/other:v1"]
    events: list[Event] = []
    was, now = small("other"), small("newer")

    def move(event: Event) -> None:
        events.append(event)
        if isinstance(event, ImageEnded):
            two_images.add("other:v1", now)

    report = await save(options(tmp_path, *lines, validate=True), move)
    [failed] = report.failed
    assert failed.image is not None
    assert str(failed.error) == f"there it is {now.digest}, here {was.digest}"
    assert report.status == 1
    assert names_in(tmp_path / "failed.txt") == [lines[1]]
    assert any(isinstance(event, Notice) and "other:v1 was saved, but differs" in event.text for event in events)
