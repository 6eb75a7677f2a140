"""`load`: every kind of image out of every form into a registry, unchanged, each digest once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings
from hangar_async.engine.events import Event, ImageEnded, LoadEnded, Notice, RunStarted
from hangar_async.errors import RegistryError
from hangar_async.testing.images import artifact
from tests.engine.forms import FORMS, HANGARS, Saved
from tests.engine.loading import document, manifests_below, named_blobs, run_load, run_validate, tagged, where
from tests.engine.made import make_cache, make_layout
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
    assert (tmp_path / "load-failed.txt").read_text() == f"# hangar-async failed images\n{failed.image.name}\n"
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
