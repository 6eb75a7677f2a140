"""`load`: every kind of image out of every form into a registry, unchanged, each digest once."""

import asyncio
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.options import CompressOptions, ListOptions, VerifyOptions
from hangar_async.config.output import OutputSettings
from hangar_async.config.registries import RegistrySettings
from hangar_async.engine.compress import compress
from hangar_async.engine.events import Event, ImageEnded, LoadEnded, Notice, RunStarted
from hangar_async.engine.ls import ls
from hangar_async.engine.reports import LoadReport, ReferrerCounts
from hangar_async.engine.verify import verify
from hangar_async.errors import RegistryError, UsageError
from hangar_async.testing.images import artifact
from tests.engine.forms import FORMS, HANGARS, Saved, pack_as_hangar
from tests.engine.loading import (
    document,
    load_options,
    manifests_below,
    named_blobs,
    run_load,
    run_validate,
    tagged,
    where,
)
from tests.engine.made import make_cache, make_layout
from tests.engine.push.rig import without_referrers
from tests.engine.served import served
from tests.engine.signed import Signed
from tests.failed_list import names_in
from tests.fakes.auth import TokenServer
from tests.fakes.faults import Status
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry


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


async def test_events(everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    events: list[Event] = []
    report = await run_load(tmp_path, everything.at("gzip"), pushable_registry, events, jobs=40)
    assert events[0] == RunStarted(len(everything.built), 60)
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
    assert names_in(tmp_path / "load-failed.txt") == [failed.image.name]
    # The list of the failed is a list to be loaded.
    lists: dict[str, Any] = {"image_list": tmp_path / "load-failed.txt", "failed": tmp_path / "load-failed-2.txt"}
    again = await run_load(tmp_path, everything.at("gzip"), pushable_registry, **lists)
    assert [outcome.state for outcome in again.outcomes] == ["pushed"]
    assert not (tmp_path / "load-failed-2.txt").exists()


async def test_a_signed_image_of_a_layout_of_hauler(pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    """All entries have one name; the tag is the image, and the signature is where cosign looks for it."""
    app = small("app")
    entries = [
        (
            artifact("application/vnd.oci.image.config.v1+json", kind.encode(), "text/plain"),
            {"io.containerd.image.name": "r.io/team/app:v1", "kind": f"dev.cosignproject.cosign/{kind}"},
        )
        for kind in ("sigs", "atts", "sboms")
    ]
    entries.append((app, {**entries[0][1], "kind": "dev.cosignproject.cosign/image"}))
    layout = await asyncio.to_thread(make_layout, tmp_path / "layout", entries)
    report = await run_load(tmp_path, layout, pushable_registry)
    assert report.status == 0, report.failed
    ends = [f"sha256-{app.digest.hex}{end}" for end in (".att", ".sbom", ".sig")]
    assert await pushable_registry.content.tags("team/app") == [*ends, "v1"]
    assert await tagged(pushable_registry.content, "team/app:v1") == app.digest
    assert await tagged(pushable_registry.content, f"team/app:{ends[2]}") == entries[0][0].digest


async def test_ten_repositories_share_a_token(pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    tokens = pushable_registry.auth = TokenServer({"me": "pass:word"})
    images = {f"source.example.com/app{number}:1": small(str(number)) for number in range(12)}
    source = make_cache(tmp_path / "cache", images)
    settings = Environment(destinations=RegistrySettings(username="me", password="pass:word"))
    assert (await run_load(tmp_path, source, pushable_registry, environment=settings)).status == 0
    # The first is that of the API, before any image.
    assert [len(request.scopes) for request in tokens.requests] == [0, 10, 2]
    assert (await run_validate(tmp_path, source, pushable_registry, environment=settings)).status == 0
    assert [len(request.scopes) for request in tokens.requests[3:]] == [0, 10, 2]


async def load_signed(saved: Path, registry: FakeRegistry, tmp_path: Path, form: str, **keywords: Any) -> LoadReport:
    """Load a saved directory with referrers, or an archive of it without index."""
    source = saved
    if form == "stream":
        source = tmp_path / "made.tar.gz"
        with tarfile.open(source, "w:gz") as archive:
            archive.add(saved, "saved-image-cache")
    return await run_load(tmp_path, source, registry, **keywords)


@pytest.mark.parametrize("form", ["dir", "stream"])
@pytest.mark.parametrize("api", [True, False])
async def test_referrers_are_restored(
    signed: Signed, pushable_registry: FakeRegistry, tmp_path: Path, api: bool, form: str
) -> None:
    """By digest, cosign's under their tags; the tag of the image comes last, and all is there already the next time."""
    if not api:
        without_referrers(pushable_registry)
    report = await load_signed(signed.saved, pushable_registry, tmp_path, form)
    assert report.status == 0, report.failed
    [outcome] = report.outcomes
    assert outcome.referrers == ReferrerCounts(1, 1, 2)
    content = pushable_registry.content
    tags = {f"sha256-{signed.image.digest.hex}.{end}" for end in ("sig", "att")}
    lists = set() if api else {signed.image.digest.tag, signed.parts.digest.tag}
    assert set(await content.tags("team/app") or ()) == {"1", *tags, *lists}
    for built in signed.referrers:
        assert await content.resolve("team/app", built.digest) is not None
        for blob, data in built.blobs.items():
            assert await content.size("team/app", blob) == len(data)
    puts = [one.path.rpartition("/")[2] for one in pushable_registry.asked("/manifests/", "PUT")]
    assert puts[-1] == "1"
    pushable_registry.requests.clear()
    again = await load_signed(signed.saved, pushable_registry, tmp_path, form)
    assert [one.state for one in again.outcomes] == ["present"]
    assert pushable_registry.asked(method="PUT") == pushable_registry.asked(method="POST") == []
    assert (await run_validate(tmp_path, signed.saved, pushable_registry)).status == 0
    content.remove("team/app", signed.parts.digest)
    [failed] = (await run_validate(tmp_path, signed.saved, pushable_registry)).failed
    assert "it is not there" in str(failed.error)
    assert (await run_validate(tmp_path, signed.saved, pushable_registry, referrers="none")).status == 0


@pytest.mark.parametrize(
    ("selected", "count"), [("none", ReferrerCounts()), ("application/vnd.example.signature", ReferrerCounts(0, 0, 2))]
)
async def test_referrers_of_some_types_are_loaded(
    signed: Signed, pushable_registry: FakeRegistry, tmp_path: Path, selected: str, count: ReferrerCounts
) -> None:
    report = await run_load(tmp_path, signed.saved, pushable_registry, referrers=selected)
    assert report.outcomes[0].referrers == count
    assert await pushable_registry.content.tags("team/app") == ["1"]


async def test_referrers_that_a_registry_does_not_take_are_notes(
    signed: Signed, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """Some registries take no artifacts."""
    pushable_registry.fail(f"/manifests/{signed.parts.digest}", Status(405), method="PUT", times=None)
    report = await run_load(tmp_path, signed.saved, pushable_registry)
    assert report.status == 0
    [outcome] = report.outcomes
    assert f"left out the referrer {signed.address}/team/app@{signed.parts.digest}: " in outcome.note
    assert outcome.referrers == ReferrerCounts(1, 1, 1)


async def test_a_damaged_referrer_fails_its_image(
    signed: Signed, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(signed.saved, copy, symlinks=True)
    (copy / "share" / "sha256" / list(signed.parts.blobs)[-1].hex).unlink()
    [failed] = (await run_load(tmp_path, copy, pushable_registry)).failed
    assert "is missing" in str(failed.error)
    assert failed.error is not None
    assert "--referrers none" in failed.error.advice
    assert (await run_load(tmp_path, copy, pushable_registry, referrers="none")).status == 0


async def test_referrers_whose_image_is_not_there_are_told(
    signed: Signed, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(signed.saved, copy, symlinks=True)
    listed, indexed = (json.loads((copy / name).read_text()) for name in ("saved-images-list.json", "index.json"))
    other = listed["List"][0] | {"Source": f"{signed.address}/team/other"}
    indexed["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = f"{other['Source']}:1"
    (copy / "saved-images-list.json").write_text(json.dumps(listed | {"List": [other]}))
    (copy / "index.json").write_text(json.dumps(indexed))
    report = await run_load(tmp_path, copy, pushable_registry)
    assert report.notices[0].startswith("left out 4 referrers of images that are not in ")
    assert await pushable_registry.content.tags("team/other") == ["1"]


async def test_a_layout_with_referrers_is_listed_verified_served_and_packed(signed: Signed, tmp_path: Path) -> None:
    listing = await ls(ListOptions(signed.saved))
    assert ReferrerCounts.of(listing.images) == ReferrerCounts(1, 1, 2)
    assert listing.incomplete == ()
    assert (await verify(VerifyOptions(signed.saved))).status == 0
    async with served(signed.saved) as client:
        async with client.session.get(f"/v2/team/app/referrers/{signed.image.digest}") as answer:
            assert [one["digest"] for one in (await answer.json(content_type=None))["manifests"]] == [
                str(signed.parts.digest)
            ]
        async with client.session.get(f"/v2/team/app/manifests/sha256-{signed.image.digest.hex}.sig") as answer:
            assert answer.status == 200
        assert len(client.served.images) == 1
    output = OutputSettings(target=tmp_path / "packed.tar.gz", format="gzip", sync=False)
    report = await compress(CompressOptions(cache=signed.saved, output=output))
    assert (report.status, len(report.outcomes)) == (0, 1)
    assert ReferrerCounts.of((await ls(ListOptions(output.target))).images) == ReferrerCounts(1, 1, 2)


@pytest.mark.parametrize("form", ["dir", "hangar"])
@pytest.mark.parametrize("mode", ["overwrite", "error", "skip"])
async def test_a_tag_that_names_another_image(
    mode: str, form: str, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """It is overwritten, an error or left alone; the last two are known before the first blob is sent."""
    old, new, other = small("old"), small("new"), small("other")
    pushable_registry.add("library/app:1", old)
    pushable_registry.add("library/same:1", other)
    source = make_cache(tmp_path / "cache", {"app:1": new, "same:1": other, "fresh:1": small("fresh")})
    if form == "hangar":
        pack_as_hangar(source, tmp_path / "all.tar.gz")
        source = tmp_path / "all.tar.gz"
    report = await run_load(tmp_path, source, pushable_registry, on_existing_tag=mode)
    outcomes = {outcome.target.repository: outcome for outcome in report.outcomes}
    expected = {"overwrite": "pushed", "error": "failed", "skip": "kept"}[mode]
    assert {name: outcome.state for name, outcome in outcomes.items()} == {
        "library/app": expected,
        "library/same": "present",
        "library/fresh": "pushed",
    }
    app, there = outcomes["library/app"], await tagged(pushable_registry.content, "library/app:1")
    assert there == (new.digest if mode == "overwrite" else old.digest)
    assert report.status == (1 if mode == "error" else 0)
    if mode == "overwrite":
        assert app.replaced == old.digest
        return
    text = app.note if mode == "skip" else str(app.error)
    assert f"is {old.digest} there, and {new.digest} here" in text
    first = next(number for number, one in enumerate(pushable_registry.requests) if one.method == "POST")
    heads = [
        number
        for number, one in enumerate(pushable_registry.requests)
        if one.method == "HEAD" and "/manifests/1" in one.path
    ]
    assert len(heads) >= 3
    assert sorted(heads)[2] < first
    assert not any(one.method == "POST" and "/library/app/" in one.path for one in pushable_registry.requests)


@pytest.mark.parametrize("mode", ["error", "skip"])
@pytest.mark.parametrize("status", [403, 412])
async def test_a_tag_that_the_registry_does_not_tell_is_not_overwritten(
    mode: str, status: int, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """It may name another image, as where a login may push and not read."""
    old = small("old")
    pushable_registry.add("library/app:1", old)
    for method in ("HEAD", "GET"):
        pushable_registry.fail("/library/app/manifests/1", Status(status), method=method, times=None)
    source = make_cache(tmp_path / "cache", {"app:1": small("new"), "fresh:1": small("fresh")})
    report = await run_load(tmp_path, source, pushable_registry, on_existing_tag=mode)
    (failed,) = report.failed
    assert f"does not tell what {pushable_registry.address}/library/app:1 is there ({status})" in str(failed.error)
    assert await tagged(pushable_registry.content, "library/app:1") == old.digest
    assert await tagged(pushable_registry.content, "library/fresh:1") is not None


async def test_parts_of_one_index_add_up_whatever_is_wanted_of_existing_tags(
    partial: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    await run_load(tmp_path, partial.at("dir"), pushable_registry, images=["multi"])
    report = await run_load(tmp_path, partial.at("gzip"), pushable_registry, images=["multi"], on_existing_tag="error")
    assert report.status == 0


def test_an_unknown_word_for_existing_tags_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--on-existing-tag"):
        load_options(tmp_path, tmp_path, "reg.lan", on_existing_tag="ask")
