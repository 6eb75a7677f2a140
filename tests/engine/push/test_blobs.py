"""Blobs are pushed once for each repository."""

from pathlib import Path

import pytest

from tests.engine.forms import Saved
from tests.engine.loading import run_load
from tests.fakes.registry import FakeRegistry


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
