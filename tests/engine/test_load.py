"""`load`: every kind of image out of every form into a registry, unchanged, each digest once."""

from pathlib import Path

import pytest

from hangar_async.engine.events import Event, ImageEnded, ImagePlanned, LoadEnded, Notice, RunStarted
from hangar_async.errors import RegistryError, UsageError
from hangar_async.oci.reference import Reference
from tests.engine.forms import FORMS, HANGARS, Saved
from tests.engine.loading import document, manifests_below, named_blobs, run_load, tagged
from tests.fakes.faults import Status
from tests.fakes.registry import FakeRegistry


def where(name: str) -> str:
    """Where an image goes that has no project: REPOSITORY:TAG."""
    reference = Reference.parse(name)
    return f"library/{reference.repository}:{reference.cache_tag}"


@pytest.mark.parametrize("form", FORMS)
async def test_every_kind_of_image_arrives_as_it_was(
    form: str, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """The root digest of each, every manifest, and every blob; a foreign layer is not held, so not sent."""
    report = await run_load(tmp_path, everything.at(form), pushable_registry)
    assert [str(outcome.error) for outcome in report.failed] == []
    assert report.status == 0
    content = pushable_registry.content
    for name, built in everything.built.items():
        repository, found = where(name).rpartition(":")[0], await tagged(content, where(name))
        assert found is not None
        if form not in HANGARS or len(built.documents) == 1:
            assert found == built.digest, name
        for digest in await manifests_below(content, repository, found):
            raw = await document(content, repository, digest)
            assert raw == built.documents[digest][1], name
            for blob in (one for one in named_blobs(raw) if one in built.blobs):
                assert await content.size(repository, blob) == len(built.blobs[blob]), name


@pytest.mark.parametrize("form", ["gzip-3", "hangar-gzip", "dir"])
async def test_each_digest_is_sent_once_and_nothing_a_second_time(
    form: str, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    await run_load(tmp_path, everything.at(form), pushable_registry)
    sent = [one.path for one in pushable_registry.asked("/blobs/uploads/.*digest=", "PUT")]
    digests = [path.rpartition("digest=")[2] for path in sent]
    assert len(digests) == len(set(digests)) > 10
    assert pushable_registry.asked("mount=", "POST")
    held = len(pushable_registry.requests)
    report = await run_load(tmp_path, everything.at(form), pushable_registry)
    assert {outcome.state for outcome in report.outcomes} == {"present"}
    assert (report.sent.uploaded_bytes, report.sent.mounted_blobs) == (0, 0)
    again = pushable_registry.requests[held:]
    # One question an image, and whether it is a registry.
    assert [one.path for one in again if one.method != "HEAD"] == ["/v2/", "/v2/"]
    assert len(again) == len(everything.built) + 2


async def test_children_come_before_parents_and_the_tag_last(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    assert pushable_registry.pushes is not None
    assert pushable_registry.pushes.complete
    report = await run_load(tmp_path, everything.at("gzip"), pushable_registry, jobs=20)
    assert report.status == 0
    for name in everything.built:
        repository, _, tag = where(name).rpartition(":")
        puts = [one.path.rpartition("/")[2] for one in pushable_registry.asked(f"/{repository}/manifests/", "PUT")]
        assert puts.index(tag) >= max(
            (number for number, one in enumerate(puts) if one.startswith("sha256:")), default=0
        )


async def test_a_prefix_and_another_project(everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    address = f"{pushable_registry.address}/mirror/of"
    await run_load(tmp_path, everything.at("dir"), address, images=["*/multi:1"])
    assert await tagged(pushable_registry.content, "mirror/of/multi:1") is not None
    await run_load(tmp_path, everything.at("dir"), pushable_registry, images=["multi"], default_project="other")
    assert await tagged(pushable_registry.content, "other/multi:1") is not None
    await run_load(tmp_path, everything.at("dir"), pushable_registry, images=["multi:*"], default_project="")
    assert await tagged(pushable_registry.content, "multi:1") is not None


async def test_what_is_asked_for_and_is_not_there(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"no image in .* matches 'none' .--image.; it has"):
        await run_load(tmp_path, everything.at("gzip"), pushable_registry, images=["none"])
    with pytest.raises(UsageError, match=r":2: quay\.local/x:1 is not in"):
        wanted = tmp_path / "list"
        wanted.write_text(f"{next(iter(everything.built))}\nquay.local/x:1\n")
        await run_load(tmp_path, everything.at("gzip"), pushable_registry, image_list=wanted)
    with pytest.raises(UsageError, match="is gzip, not zstd"):
        await run_load(tmp_path, everything.at("gzip"), pushable_registry, format="zstd")
    with pytest.raises(UsageError, match="there is no"):
        await run_load(tmp_path, tmp_path / "missing.tar.gz", pushable_registry)
    assert pushable_registry.requests == []


async def test_a_list_chooses_images(everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    names = list(everything.built)[1:3]
    report = await run_load(tmp_path, everything.at("gzip"), pushable_registry, image_list=names)
    assert [outcome.image.name for outcome in report.outcomes] == names


async def test_a_dry_run_asks_for_nothing(everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    events: list[Event] = []
    report = await run_load(tmp_path, everything.at("gzip"), pushable_registry, events, dry_run=True)
    assert {outcome.state for outcome in report.outcomes} == {"planned"}
    assert report.status == 0
    assert pushable_registry.requests == []
    assert not (tmp_path / "load-failed.txt").exists()
    assert sum(isinstance(event, ImagePlanned) for event in events) == len(everything.built)


async def test_events(everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    events: list[Event] = []
    report = await run_load(tmp_path, everything.at("gzip"), pushable_registry, events, jobs=40)
    assert events[0] == RunStarted(len(everything.built), 20)
    assert events[1] == Notice("--jobs 40 is outside of 1 to 20: 20 is used")
    assert sum(isinstance(event, ImageEnded) for event in events) == len(everything.built)
    assert events[-1] == LoadEnded(report)


async def test_an_image_that_fails_is_named_and_the_others_go_on(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    pushable_registry.fail("library/multi/manifests/1", Status(403), method="PUT")
    report = await run_load(tmp_path, everything.at("gzip"), pushable_registry)
    assert report.status == 1
    [failed] = report.failed
    assert isinstance(failed.error, RegistryError)
    assert failed.image.name.endswith("/multi:1")
    assert (tmp_path / "load-failed.txt").read_text() == f"{failed.image.name}\n"
    # The list of the failed is a list to be loaded.
    again = await run_load(tmp_path, everything.at("gzip"), pushable_registry, image_list=tmp_path / "load-failed.txt")
    assert [outcome.state for outcome in again.outcomes] == ["pushed"]
    assert not (tmp_path / "load-failed.txt").exists()
