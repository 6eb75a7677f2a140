import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hangar_async.engine.events import Event, ImageEnded, ImagePlanned, Notice, RunEnded, RunStarted
from hangar_async.errors import Conflict, NoPlatform, NotFound, UnsupportedManifest, UsageError
from hangar_async.oci.digest import Digest
from hangar_async.oci.platform import Platform
from hangar_async.testing.images import Built, IndexEntry, artifact, attestation, image, index, layer
from tests.engine.rig import AMD64, ARM64, ARMV7, WINDOWS, Registry, options, registry, run, small


@pytest.fixture
async def served() -> AsyncIterator[Registry]:
    async with registry() as found:
        yield found


def listed(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((root / "saved-images-list.json").read_text())["List"]
    return found


def entries(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((root / "index.json").read_text())["manifests"]
    return found


def held(root: Path) -> set[str]:
    return {f"sha256:{path.name}" for path in (root / "share" / "sha256").iterdir()}


def everything(*images: Built) -> set[str]:
    return {str(digest) for one in images for digest in (*one.documents, *one.blobs)}


def intact(root: Path) -> bool:
    return all(Digest.of(path.read_bytes()).hex == path.name for path in (root / "share" / "sha256").iterdir())


async def test_every_byte_of_an_index_that_is_held_whole(served: Registry, tmp_path: Path) -> None:
    amd64, arm64 = small("a"), small("b", platform=ARM64)
    whole = index([amd64, arm64, attestation(amd64), attestation(arm64)])
    served.content.add("team/app:1", whole)
    report = await run(tmp_path, f"{served.address}/team/app:1")
    assert report.status == 0
    root = tmp_path / "out"
    assert held(root) == everything(whole)
    assert intact(root)
    assert entries(root)[0]["digest"] == str(whole.digest)
    assert entries(root)[0]["annotations"] == {"org.opencontainers.image.ref.name": f"{served.address}/team/app:1"}
    (one,) = listed(root)
    assert (one["Source"], one["Tag"], one["ArchList"]) == (f"{served.address}/team/app", "1", ["amd64", "arm64"])
    assert [item["Digest"] for item in one["Images"]] == [str(amd64.digest), str(arm64.digest)]


async def test_a_part_of_an_index_gets_an_index_of_its_own(served: Registry, tmp_path: Path) -> None:
    amd64, arm64, armv7 = small("a"), small("b", platform=ARM64), small("c", platform=ARMV7)
    whole = index([armv7, arm64, attestation(arm64), attestation(armv7), amd64], docker=True)
    served.content.add("app:1", whole)
    await run(tmp_path, f"{served.address}/app:1", architectures=["amd64", "arm64"])
    (entry,) = entries(tmp_path / "out")
    assert entry["annotations"]["io.hangar-async.original.digest"] == str(whole.digest)
    partial = json.loads((tmp_path / "out" / "share" / "sha256" / entry["digest"][7:]).read_bytes())
    original = json.loads(whole.raw)
    assert partial["mediaType"] == original["mediaType"] == entry["mediaType"]
    assert partial["manifests"] == [original["manifests"][number] for number in (1, 2, 4)]
    kept = {entry["digest"], str(whole.digest), *everything(amd64, arm64, attestation(arm64).built)}
    assert held(tmp_path / "out") == kept


async def test_a_single_image_has_the_platform_of_its_config(served: Registry, tmp_path: Path) -> None:
    for name, platform in (("linux", ARMV7), ("windows", WINDOWS)):
        served.content.add(f"{name}:1", small(name, platform=platform, docker=True))
    report = await run(
        tmp_path, f"{served.address}/linux:1", f"{served.address}/windows:1", architectures=["arm/v7", "amd64"]
    )
    assert report.status == 0
    linux, windows = (image["Images"][0] for image in listed(tmp_path / "out"))
    assert (linux["OS"], linux["Arch"], linux["Variant"], linux["OsVersion"]) == ("linux", "arm", "v7", "")
    assert (windows["OS"], windows["OsVersion"]) == ("windows", "10.0.17763.1879")


async def test_systems_are_filtered(served: Registry, tmp_path: Path) -> None:
    linux, windows = small("a"), small("b", platform=WINDOWS)
    served.content.add("app:1", index([linux, windows]))
    await run(tmp_path, f"{served.address}/app:1", systems=["windows"])
    (one,) = listed(tmp_path / "out")
    assert [item["OS"] for item in one["Images"]] == ["windows"]


async def test_entries_without_platform_are_looked_at(served: Registry, tmp_path: Path) -> None:
    amd64, armv7 = small("a"), small("b", platform=ARMV7)
    whole = index([IndexEntry(armv7, with_platform=False), IndexEntry(amd64, with_platform=False)])
    served.content.add("app:1", whole)
    await run(tmp_path, f"{served.address}/app:1")
    (one,) = listed(tmp_path / "out")
    assert [item["Digest"] for item in one["Images"]] == [str(amd64.digest)]


async def test_entries_of_unknown_platform_are_left_out_and_counted(served: Registry, tmp_path: Path) -> None:
    amd64 = small("a")
    odd = IndexEntry(small("odd", platform=Platform("unknown", "unknown")))
    served.content.add("app:1", index([amd64, odd]))
    report = await run(tmp_path, f"{served.address}/app:1", architectures=["all"])
    assert report.outcomes[0].notes == ("left out 1 entries of unknown platform",)
    assert str(odd.built.digest) not in held(tmp_path / "out")
    assert "io.hangar-async.original.digest" in entries(tmp_path / "out")[0]["annotations"]


async def test_nested_indexes(served: Registry, tmp_path: Path) -> None:
    amd64, arm64, armv7 = small("a"), small("b", platform=ARM64), small("c", platform=ARMV7)
    inner, part = index([arm64, amd64]), index([armv7, small("d", platform=AMD64)])
    served.content.add("whole:1", index([inner]))
    served.content.add("part:1", index([inner, part]))
    report = await run(tmp_path, f"{served.address}/whole:1", f"{served.address}/part:1")
    assert report.status == 0
    whole, partial = entries(tmp_path / "out")
    assert "io.hangar-async.original.digest" not in whole["annotations"]
    raw = json.loads((tmp_path / "out" / "share" / "sha256" / partial["digest"][7:]).read_bytes())
    # The inner index that is whole stands as it was; of the other one, the entry that is held.
    assert [entry["digest"] for entry in raw["manifests"]] == [
        str(inner.digest),
        str(small("d", platform=AMD64).digest),
    ]
    assert {entry["digest"] for entry in raw["manifests"]} <= held(tmp_path / "out")


async def test_artifacts_are_saved_when_they_are_named(served: Registry, tmp_path: Path) -> None:
    chart = artifact(
        "application/vnd.cncf.helm.config.v1+json", b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    )
    served.content.add("chart:1", chart)
    report = await run(tmp_path, f"{served.address}/chart:1", architectures=["s390x"])
    assert report.status == 0
    (one,) = listed(tmp_path / "out")
    assert (one["Images"][0]["Arch"], one["Images"][0]["OS"]) == ("unknown", "unknown")
    assert held(tmp_path / "out") == everything(chart)


async def test_an_image_with_no_wanted_platform_fails_and_says_what_it_has(served: Registry, tmp_path: Path) -> None:
    served.content.add("app:1", index([small("a", platform=ARMV7), small("b", platform=WINDOWS)]))
    served.content.add("good:1", small("good"))
    report = await run(
        tmp_path, f"{served.address}/app:1", f"{served.address}/good:1", architectures=["amd64"], systems=["linux"]
    )
    error = report.failed[0].error
    assert isinstance(error, NoPlatform)
    assert "no image available for amd64 on linux" in str(error)
    assert "linux/arm/v7, windows/amd64 (10.0.17763.1879)" in str(error)
    assert report.status == 1


async def test_schema_1_is_named(served: Registry, tmp_path: Path) -> None:
    raw = json.dumps({"schemaVersion": 1, "name": "old", "fsLayers": []}).encode()
    served.content.add_manifest("old", raw, "application/vnd.docker.distribution.manifest.v1+prettyjws", ["1"])
    report = await run(tmp_path, f"{served.address}/old:1")
    assert isinstance(report.failed[0].error, UnsupportedManifest)
    assert report.status == 3


async def test_foreign_layers_are_left_out_and_named(served: Registry, tmp_path: Path) -> None:
    foreign = layer({"w": b"windows" * 100}, urls=["http://127.0.0.1:1/layer"])
    served.content.add("app:1", small("app", foreign))
    report = await run(tmp_path, f"{served.address}/app:1")
    assert report.status == 0
    assert str(foreign.digest) in report.outcomes[0].notes[0]
    assert str(foreign.digest) not in held(tmp_path / "out")


async def test_foreign_layers_come_from_their_addresses_when_asked_for(served: Registry, tmp_path: Path) -> None:
    data = layer({"w": b"windows" * 100})
    served.content.add_blob("elsewhere", data.data)
    url = f"http://{served.address}/v2/elsewhere/blobs/{data.digest}"
    foreign = layer({"w": b"windows" * 100}, urls=["http://127.0.0.1:1/refused", url])
    served.content.add("app:1", small("app", foreign))
    report = await run(tmp_path, f"{served.address}/app:1", include_foreign=True)
    assert report.status == 0, report.failed
    assert str(foreign.digest) in held(tmp_path / "out")


async def test_by_digest_with_and_without_tag(served: Registry, tmp_path: Path) -> None:
    one, two = small("one"), small("two")
    served.content.add("app:1", one)
    served.content.add("app", two)
    lines = f"{served.address}/app:kept@{two.digest}", f"{served.address}/app@{one.digest}"
    report = await run(tmp_path, *lines)
    assert report.status == 0
    assert [image["Tag"] for image in listed(tmp_path / "out")] == ["kept", f"sha256-{one.digest.hex}"]
    names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries(tmp_path / "out")]
    assert names == [f"{served.address}/app:kept", f"{served.address}/app@{one.digest}"]


async def test_one_name_for_two_contents(served: Registry, tmp_path: Path) -> None:
    one, two = small("one"), small("two")
    served.content.add("app:1", one)
    served.content.add("app", two)
    name = f"{served.address}/app:1"
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


async def test_failures_stop_nobody_else(served: Registry, tmp_path: Path) -> None:
    served.content.add("good:1", small("good"))
    lines = f"  {served.address}/none:1 ", f"{served.address}/good:1", "Bad:Line:x", f"{served.address}/good:2"
    report = await run(tmp_path, *lines)
    assert report.status == 1
    assert [type(outcome.error) for outcome in report.outcomes] == [NotFound, type(None), NotFound]
    assert (tmp_path / "failed.txt").read_text() == f"{served.address}/none:1\n{served.address}/good:2\n"
    assert [line.line for line in report.invalid] == [3]
    assert len(listed(tmp_path / "out")) == 1
    again = await run(tmp_path, f"{served.address}/good:1", destination=tmp_path / "again")
    assert again.status == 0
    assert not (tmp_path / "failed.txt").exists()


async def test_nothing_saved_makes_nothing(served: Registry, tmp_path: Path) -> None:
    for format_ in ("dir", "gzip"):
        report = await run(tmp_path, f"{served.address}/none:1", format=format_)
        assert report.status == 3
        assert report.output is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failed.txt", "saved-image-cache"]


async def test_an_image_that_fails_half_way_is_not_in_the_output(served: Registry, tmp_path: Path) -> None:
    bad, good = small("bad"), small("good")
    served.content.add("bad:1", bad)
    served.content.add("good:1", good)
    served.content.remove("bad", Digest.of(layer({"bad.txt": b"bad" * 50}).data))
    report = await run(tmp_path, f"{served.address}/bad:1", f"{served.address}/good:1")
    assert report.status == 1
    assert [image["Source"] for image in listed(tmp_path / "out")] == [f"{served.address}/good"]
    assert held(tmp_path / "out") == everything(good)


async def test_events_tell_the_way_of_a_run(served: Registry, tmp_path: Path) -> None:
    served.content.add("app:1", small("app"))
    events: list[Event] = []
    report = await run(tmp_path, f"{served.address}/app:1", "no image", events=events, jobs=100)
    assert events[0] == RunStarted(images=1, jobs=20)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert notices[0] == "--jobs 100 is outside of 1 to 20: 20 is used"
    assert "image list:2" in notices[1]
    planned = next(event for event in events if isinstance(event, ImagePlanned))
    assert (planned.platforms, planned.new_blobs) == (1, 3)
    assert planned.new_bytes == report.traffic.fetched_bytes
    assert [event for event in events if isinstance(event, ImageEnded)] == [ImageEnded(report.outcomes[0])]
    assert events[-1] == RunEnded(report)


async def test_saved_time_is_that_of_the_newest_image(served: Registry, tmp_path: Path) -> None:
    for number, created in enumerate(["2023-05-01T00:00:00Z", "2024-06-01T10:00:00.5+02:00", "nonsense"]):
        served.content.add(f"app:{number}", small(f"app{number}", created=created))
    await run(tmp_path, *(f"{served.address}/app:{number}" for number in range(3)))
    saved = json.loads((tmp_path / "out" / "saved-images-list.json").read_text())["SavedTime"]
    assert datetime.fromisoformat(saved) == datetime.fromisoformat("2024-06-01T08:00:00Z")


async def test_a_refused_destination_costs_no_request(served: Registry, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "file").touch()
    refused: list[dict[str, Any]] = [
        {"destination": tmp_path / "full"},
        {"destination": tmp_path / "file"},
        {"destination": tmp_path / "none" / "out"},
        {"failed": tmp_path / "none" / "failed.txt"},
        {"failed": tmp_path / "full"},
        {"destination": tmp_path / "saved-image-cache"},
        {"destination": tmp_path / "saved-image-cache" / "out"},
        {"destination": tmp_path / "full", "format": "gzip", "part_size": 100},
    ]
    refused[-1]["destination"] = tmp_path / "full."
    (tmp_path / "full.").mkdir()
    for keywords in refused:
        with pytest.raises(UsageError):
            await run(tmp_path, f"{served.address}/app:1", **keywords)
    assert served.order == []
    assert (tmp_path / "full" / "file").exists()


async def test_a_cancelled_run_keeps_what_was_fetched_and_nothing_else(served: Registry, tmp_path: Path) -> None:
    first, second = small("first"), small("second")
    served.content.add("first:1", first)
    served.content.add("second:1", second)
    reached = asyncio.Event()

    async def hold(request: web.Request) -> web.StreamResponse | None:
        if "/second/manifests/" in request.path:
            reached.set()
            await asyncio.Event().wait()
        return None

    served.fault = hold
    (tmp_path / "out.tar.gz").write_bytes(b"earlier")
    lines = f"{served.address}/first:1", f"{served.address}/second:1"
    ended = asyncio.Event()

    def watch(event: Event) -> None:
        if isinstance(event, ImageEnded):
            ended.set()

    from hangar_async.engine.save import save

    task = asyncio.create_task(save(options(tmp_path, *lines, format="gzip"), watch))
    await reached.wait()
    await ended.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "out.tar.gz").read_bytes() == b"earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tar.gz", "saved-image-cache"]
    served.fault = None
    report = await run(tmp_path, *lines, format="gzip")
    assert report.status == 0
    assert served.blobs_asked().most_common(1)[0][1] == 1


async def test_another_registry_for_all(served: Registry, tmp_path: Path) -> None:
    served.content.add("library/nginx:1", small("nginx"))
    served.content.add("team/app:1", small("app"))
    report = await run(tmp_path, "nginx:1", "reg.example.com/team/app:1", source=served.address)
    assert report.status == 0
    assert [image["Source"] for image in listed(tmp_path / "out")] == [
        f"{served.address}/library/nginx",
        f"{served.address}/team/app",
    ]


async def test_two_variants_of_one_architecture_have_folders_of_their_own(served: Registry, tmp_path: Path) -> None:
    v1, v3 = (
        small("v1", platform=Platform("linux", "amd64", "v1")),
        small("v3", platform=Platform("linux", "amd64", "v3")),
    )
    served.content.add("app:1", index([v1, v3]))
    await run(tmp_path, f"{served.address}/app:1")
    (one,) = listed(tmp_path / "out")
    folders = [item["Folder"] for item in one["Images"]]
    assert len(set(folders)) == 2
    for folder, built in zip(folders, (v1, v3), strict=True):
        found = json.loads((tmp_path / "out" / folder / "index.json").read_text())["manifests"][0]
        assert found["digest"] == str(built.digest)


async def test_an_image_without_layers(served: Registry, tmp_path: Path) -> None:
    served.content.add("empty:1", image([], AMD64))
    assert (await run(tmp_path, f"{served.address}/empty:1")).status == 0


async def test_without_a_named_cache_nothing_but_the_output_is_left(served: Registry, tmp_path: Path) -> None:
    served.content.add("app:1", small("app"))
    report = await run(tmp_path, f"{served.address}/app:1", format="gzip", cache=None, failed=None)
    assert report.status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.tar.gz", "out.tar.gz.sha256"]
