"""A registry that took a document has it, or is told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.forms import Saved
from tests.engine.loading import loaded, named, run_load, tagged
from tests.fakes.faults import Status
from tests.fakes.registry import FakeRegistry


@pytest.mark.parametrize("name", ["oci", "nested"])
async def test_a_tag_that_was_taken_and_is_absent(
    name: str, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """All blobs are there, and the manifest is answered 201 and not kept: it is pushed again, all of its blobs too."""
    held = everything.at("gzip")
    content = pushable_registry.content
    for digest, data in named(everything, name).blobs.items():
        assert content.add_blob(f"library/{name}", data) == digest
    rule = pushable_registry.fail(f"library/{name}/manifests/", Status(201), method="PUT", times=2)
    report = await loaded(tmp_path, held, pushable_registry, images=[name])
    assert rule.used == 2
    assert report.sent.uploaded_blobs >= len(named(everything, name).blobs)
    assert await tagged(content, f"library/{name}:1") == named(everything, name).digest
    # Where something was sent the word of the registry is taken.
    asked = len(pushable_registry.requests)
    await loaded(tmp_path, held, pushable_registry, images=["plain"])
    requests = [one for one in pushable_registry.requests[asked:] if "plain/manifests/" in one.path]
    assert [one.method for one in requests] == ["HEAD", "PUT"]


async def test_a_registry_that_keeps_nothing(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    for digest, data in named(everything, "oci").blobs.items():
        assert pushable_registry.content.add_blob("library/oci", data) == digest
    pushable_registry.fail("library/oci/manifests/", Status(201), method="PUT", times=None)
    [failed] = (await run_load(tmp_path, everything.at("gzip"), pushable_registry, images=["oci:1"])).failed
    assert "took 1 of" in str(failed.error)
    assert "does not have it" in str(failed.error)
    assert len(pushable_registry.asked("library/oci/manifests/", "PUT")) == 3
