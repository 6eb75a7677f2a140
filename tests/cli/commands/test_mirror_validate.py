"""`mirror-validate` as a person runs it."""

from __future__ import annotations

from pathlib import Path

from tests.cli.site import Done, call
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry


async def test_what_differs_is_named_and_can_be_copied(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fake_registry.add("team/one:1", small("one"))
    flags = (f"{fake_registry.address}/team/one:1", "-d", pushable_registry.address, "-j", "2")
    done = await call(tmp_path, "mirror-validate", *flags)
    rows = done.rows()
    assert done.status == 3
    assert rows["failed"] == [f"line 1: {flags[0]}: differs", "it is not there; mirror it"]
    assert (await call(tmp_path, *rows["next"][1].split()[1:])).status == 0
    assert (await call(tmp_path, "mirror-validate", *flags)).rows()["same"] == ["1 of 1 image"]
    assert await call(tmp_path, "mirror-validate", *flags, "--quiet") == Done(0, "", "")
