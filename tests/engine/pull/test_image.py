"""An image of the list is fetched whole, or fails alone."""

from pathlib import Path

from hangar_async.errors import Conflict
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import image, layer
from tests.engine.rig import all_digests, entries, held, listed, run
from tests.fakes.images import AMD64, small
from tests.fakes.registry import FakeRegistry


async def test_by_digest_with_and_without_tag(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    one, two = small("one"), small("two")
    fake_registry.add("app:1", one)
    fake_registry.add("app", two)
    lines = f"{fake_registry.address}/app:kept@{two.digest}", f"{fake_registry.address}/app@{one.digest}"
    report = await run(tmp_path, *lines)
    assert report.status == 0
    assert [image["Tag"] for image in listed(tmp_path / "out")] == ["kept", f"sha256-{one.digest.hex}"]
    names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries(tmp_path / "out")]
    assert names == [f"{fake_registry.address}/app:kept", f"{fake_registry.address}/app@{one.digest}"]


async def test_one_name_for_two_contents(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    one, two = small("one"), small("two")
    fake_registry.add("app:1", one)
    fake_registry.add("app", two)
    name = f"{fake_registry.address}/app:1"
    same, other = f"{name}@{one.digest}", f"{name}@{two.digest}"
    report = await run(tmp_path, name, same, other)
    assert [outcome.ok for outcome in report.outcomes] == [True, True, False]
    assert report.outcomes[1].same_as == report.outcomes[0].entry
    error = report.outcomes[2].error
    assert isinstance(error, Conflict)
    assert "line 3" in str(error)
    assert "line 2" in str(error)
    assert len(listed(tmp_path / "out")) == 1
    unlike = await run(tmp_path, name, other, destination=tmp_path / "other")
    assert isinstance(unlike.outcomes[1].error, Conflict)


async def test_an_image_that_fails_half_way_is_not_in_the_output(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    bad, good = small("bad"), small("good")
    fake_registry.add("bad:1", bad)
    fake_registry.add("good:1", good)
    fake_registry.content.remove("bad", Digest.of(layer({"bad.txt": b"bad" * 50}).data))
    report = await run(tmp_path, f"{fake_registry.address}/bad:1", f"{fake_registry.address}/good:1")
    assert report.status == 1
    assert [image["Source"] for image in listed(tmp_path / "out")] == [f"{fake_registry.address}/good"]
    assert held(tmp_path / "out") == all_digests(good)


async def test_an_image_without_layers(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    fake_registry.add("empty:1", image([], AMD64))
    assert (await run(tmp_path, f"{fake_registry.address}/empty:1")).status == 0
