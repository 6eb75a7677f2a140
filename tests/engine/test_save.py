"""`save` and `sync` as a whole: outcomes, events, cancellation, and images that stay named."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import shutil
import stat
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.config.options import CompressOptions, ExtractOptions, ListOptions, ServeOptions, VerifyOptions
from hangar_async.config.output import OutputSettings
from hangar_async.config.shard import Shard
from hangar_async.engine.compress import compress
from hangar_async.engine.events import Event, ImageEnded, ImagePlanned, Notice, QuotaReported, RunEnded, RunStarted
from hangar_async.engine.extract import extract
from hangar_async.engine.ls import ls
from hangar_async.engine.reports import Report
from hangar_async.engine.save import save, sync
from hangar_async.engine.serve import serving
from hangar_async.engine.verify import verify
from hangar_async.errors import NotFound, UsageError
from hangar_async.oci.reference import Reference
from hangar_async.testing.images import Built, index, layer
from tests.engine.forms import tree
from tests.engine.loading import run_load, run_validate, tagged
from tests.engine.pull.rig import buildkit_cache
from tests.engine.rig import BASE, Countdown, listed, options, run, sync_options
from tests.engine.served import served
from tests.failed_list import names_in
from tests.fakes.auth import TokenServer
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Hold, PullQuota, Status
from tests.fakes.images import ARM64, small
from tests.fakes.registry import FakeRegistry


async def test_failures_stop_nobody_else(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    fake_registry.add("good:1", small("good"))
    lines = (
        f"  {fake_registry.address}/none:1 ",
        f"{fake_registry.address}/good:1",
        "Bad:Line:x",
        f"{fake_registry.address}/good:2",
    )
    report = await run(tmp_path, *lines)
    assert report.status == 1
    assert [type(outcome.error) for outcome in report.outcomes] == [NotFound, type(None), NotFound]
    written = (tmp_path / "failed.txt").read_text().splitlines()
    assert names_in(tmp_path / "failed.txt") == [lines[0].strip(), lines[3]]
    assert written[1].startswith("# not found: ")
    assert written[-1].startswith("# image list:3: ")
    assert [line.line for line in report.invalid] == [3]
    assert len(listed(tmp_path / "out")) == 1
    again = await run(tmp_path, f"{fake_registry.address}/good:1", destination=tmp_path / "again")
    assert again.status == 0
    assert not (tmp_path / "failed.txt").exists()


async def test_ten_repositories_share_a_token(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    tokens = fake_registry.auth = TokenServer()
    for number in range(12):
        fake_registry.add(f"app{number}:1", small("one"))
    assert (await run(tmp_path, *(f"{fake_registry.address}/app{number}:1" for number in range(12)))).status == 0
    assert [len(request.scopes) for request in tokens.requests] == [10, 2]


@dataclass
class Crowded:
    """Refuses a request that comes while so many others are answered."""

    registry: FakeRegistry
    most: int

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.registry.active > self.most:
            return web.Response(status=429)
        for _ in range(20):
            await asyncio.sleep(0)
        return await handler(request)


@pytest.mark.parametrize("jobs", [4, 20])
async def test_a_registry_that_takes_eight_requests_at_once_refuses_few(
    fake_registry: FakeRegistry, tmp_path: Path, jobs: int
) -> None:
    names = [f"{fake_registry.address}/app{number}:1" for number in range(60)]
    for number in range(60):
        fake_registry.add(f"app{number}:1", small(str(number)))
    assert (await run(tmp_path, *names, jobs=jobs)).status == 0
    needed, fake_registry.requests = len(fake_registry.requests), []
    fake_registry.fail("", Crowded(fake_registry, 8), times=None)
    clock = FakeClock().clock
    again = options(tmp_path, *names, jobs=jobs, destination=tmp_path / "again", cache=tmp_path / "other")
    assert (await save(again, clock=clock)).status == 0
    refused = [request for request in fake_registry.requests if request.status == 429]
    assert len(fake_registry.requests) == needed + len(refused)
    assert 0 < len(refused) <= needed // 10


async def test_pulls_are_left_to_others(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    names = [f"{fake_registry.address}/app{number}:1" for number in range(6)]
    for number in range(6):
        fake_registry.add(f"app{number}:1", small(str(number)))
    hub = PullQuota(limit=6)
    fake_registry.fail("/manifests/", hub, times=None)
    plain = options(tmp_path, *names)
    settings = plain.environment.registries
    kept = replace(settings, retry=replace(settings.retry, keep_quota=2))
    report = await save(replace(plain, environment=replace(plain.environment, registries=kept)))
    assert (report.status, hub.pulls, len(report.saved)) == (1, 4, 4)
    assert {outcome.error.reason for outcome in report.failed if outcome.error} == {"rate limited"}
    assert report.quotas == (QuotaReported(fake_registry.address, 2, 6, 21600),)


@pytest.mark.parametrize("parts", [{}, {"part_size": 2_000}], ids=["file", "parts"])
async def test_an_archive_of_fewer_images_replaces_none_that_holds_more(
    fake_registry: FakeRegistry, tmp_path: Path, parts: dict[str, Any]
) -> None:
    names = [f"{fake_registry.address}/{name}:1" for name in ("one", "two", "three")]
    for name in ("one", "two", "three"):
        fake_registry.add(f"{name}:1", small(name))
    target = {"format": "gzip", "destination": tmp_path / "all.tar.gz", **parts}
    first = await run(tmp_path, *names[:2], **target)
    assert (first.status, first.output and first.output.kept) == (0, None)
    earlier = {path.name: path.read_bytes() for path in tmp_path.glob("all.tar.gz*")}
    fake_registry.fail("/(one|two)/manifests/", Status(404), times=None)
    for _ in range(2):
        report = await run(tmp_path, *names, **target)
        assert report.status == 1
        assert report.output is not None
        assert report.output.kept == tmp_path / "all.tar.gz"
        assert {name: (tmp_path / name).read_bytes() for name in earlier} == earlier
        verdict = await verify(VerifyOptions(tmp_path / "all.incomplete.tar.gz"))
        assert ([image.name for image in verdict.images], verdict.problems) == ([names[2]], ())
        assert not list(tmp_path.glob(".all.*"))
    replaced = await run(tmp_path, *names, **target, replace=True)
    assert (replaced.status, replaced.output and replaced.output.kept) == (1, None)
    assert len((await verify(VerifyOptions(tmp_path / "all.tar.gz"))).images) == 1
    # As many images are enough.
    again = await run(tmp_path, *names, **target)
    assert (again.status, again.output and again.output.kept) == (1, None)


async def test_an_earlier_file_that_is_no_archive_is_replaced_by_some_images(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    fake_registry.add("one:1", small("one"))
    (tmp_path / "all.tar.gz").write_bytes(b"\x1f\x8b of nothing")
    names = [f"{fake_registry.address}/{name}:1" for name in ("one", "two")]
    report = await run(tmp_path, *names, format="gzip", destination=tmp_path / "all.tar.gz")
    assert report.output is not None
    assert (report.status, report.output.path.name) == (1, "all.tar.gz")


async def test_nothing_saved_makes_nothing(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    for format_ in ("dir", "gzip"):
        report = await run(tmp_path, f"{fake_registry.address}/none:1", format=format_)
        assert report.status == 3
        assert report.output is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failed.txt", "saved-image-cache"]


async def test_events_tell_the_way_of_a_run(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    fake_registry.add("app:1", small("app"))
    events: list[Event] = []
    report = await run(tmp_path, f"{fake_registry.address}/app:1", "no image", events=events, jobs=100)
    assert events[0] == RunStarted(images=1, jobs=60)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert notices[0] == "--jobs 100 is outside of 1 to 20: 20 is used"
    assert "image list:2" in notices[1]
    planned = next(event for event in events if isinstance(event, ImagePlanned))
    assert (planned.platforms, planned.new_blobs) == (1, 3)
    assert planned.new_bytes == report.traffic.fetched_bytes
    assert [event for event in events if isinstance(event, ImageEnded)] == [ImageEnded(report.outcomes[0])]
    assert events[-1] == RunEnded(report)


@pytest.mark.parametrize("verb", ["save", "sync"])
async def test_the_failed_list_is_not_the_image_list(fake_registry: FakeRegistry, tmp_path: Path, verb: str) -> None:
    images = tmp_path / "failed.txt"
    images.write_text(f"{fake_registry.address}/app:1\n")
    with pytest.raises(UsageError, match="would replace"):
        await (run if verb == "save" else bring)(tmp_path, images=images)
    assert fake_registry.requests == []
    assert images.exists()


async def test_invalid_lines_are_failures_and_comments_of_the_failed_list(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    fake_registry.add("app:1", small("app"))
    lines = f"{fake_registry.address}/app:1", "no image", "Bad:Line:x"
    report = await run(tmp_path, *lines)
    assert (report.status, report.failed) == (1, ())
    written = (tmp_path / "failed.txt").read_text().splitlines()
    assert len(written) == 3
    assert all(line.startswith("# ") for line in written)
    assert written[1].startswith("# image list:2: 'no image' has white space")
    lenient = await run(tmp_path, *lines, lenient=True, destination=tmp_path / "lenient")
    assert lenient.status == 0


async def test_saved_time_is_that_of_the_newest_image(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    for number, created in enumerate(["2023-05-01T00:00:00Z", "2024-06-01T10:00:00.5+02:00", "nonsense"]):
        fake_registry.add(f"app:{number}", small(f"app{number}", created=created))
    await run(tmp_path, *(f"{fake_registry.address}/app:{number}" for number in range(3)))
    saved = json.loads((tmp_path / "out" / "saved-images-list.json").read_text())["SavedTime"]
    assert datetime.fromisoformat(saved) == datetime.fromisoformat("2024-06-01T08:00:00Z")


async def test_a_refused_destination_costs_no_request(fake_registry: FakeRegistry, tmp_path: Path) -> None:
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
            await run(tmp_path, f"{fake_registry.address}/app:1", **keywords)
    assert fake_registry.requests == []
    assert (tmp_path / "full" / "file").exists()


async def test_a_cancelled_run_keeps_what_was_fetched_and_nothing_else(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    first, second = small("first"), small("second")
    fake_registry.add("first:1", first)
    fake_registry.add("second:1", second)
    hold = Hold(asyncio.Event())
    fake_registry.fail("/second/manifests/", hold)
    (tmp_path / "out.tar.gz").write_bytes(b"earlier")
    lines = f"{fake_registry.address}/first:1", f"{fake_registry.address}/second:1"
    ended = asyncio.Event()

    def watch(event: Event) -> None:
        if isinstance(event, ImageEnded):
            ended.set()

    task = asyncio.create_task(save(options(tmp_path, *lines, format="gzip"), watch))
    await hold.reached.wait()
    await ended.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "out.tar.gz").read_bytes() == b"earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tar.gz", "saved-image-cache"]
    report = await run(tmp_path, *lines, format="gzip")
    assert report.status == 0
    assert fake_registry.blobs_asked().most_common(1)[0][1] == 1


@pytest.mark.parametrize("format_", ["gzip", "dir"])
async def test_an_image_from_a_mirror_keeps_the_name_of_its_list(
    format_: str, fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """It is served to those that ask for it by that name, and loaded under it."""
    built = small("nginx")
    fake_registry.add("library/nginx:1", built)
    fake_registry.add("team/app:1", small("app"))
    lines = ["nginx:1", f"{fake_registry.address}/team/app:1"]
    await run(tmp_path, *lines, source=fake_registry.address, format=format_)
    source = tmp_path / ("out.tar.gz" if format_ == "gzip" else "out")
    async with (
        serving(ServeOptions(source=source, listen="127.0.0.1:0")) as served,
        aiohttp.ClientSession() as session,
        session.get(f"http://{served.address}/v2/library/nginx/manifests/1?ns=docker.io") as answer,
    ):
        assert answer.status == 200
        assert await answer.read() == built.raw
    report = await run_load(tmp_path, source, "", template=f"{pushable_registry.address}/{{registry}}/{{name}}")
    assert [outcome.target.repository for outcome in report.outcomes] == [
        "docker.io/nginx",
        f"{fake_registry.address.replace(':', '-')}/app",
    ]
    assert "goes under the name that its list had, docker.io/library/nginx:1" in report.notices[0]
    await extract(ExtractOptions(source=source, image="nginx:1", destination=tmp_path / "layout", sync=False))


async def test_another_registry_for_all(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    fake_registry.add("library/nginx:1", small("nginx"))
    fake_registry.add("team/app:1", small("app"))
    report = await run(tmp_path, "nginx:1", "reg.example.com/team/app:1", source=fake_registry.address)
    assert report.status == 0
    assert [image["Source"] for image in listed(tmp_path / "out")] == [
        f"{fake_registry.address}/library/nginx",
        f"{fake_registry.address}/team/app",
    ]


async def test_without_a_named_cache_nothing_but_the_output_is_left(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    fake_registry.add("app:1", small("app"))
    report = await run(tmp_path, f"{fake_registry.address}/app:1", format="gzip", cache=None, failed=None)
    assert report.status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.tar.gz", "out.tar.gz.sha256"]


def lines(dated_apps: FakeRegistry, *numbers: int) -> list[str]:
    return [f"{dated_apps.address}/app{number}:1" for number in numbers]


async def bring(tmp_path: Path, *images: str, events: list[Event] | None = None, **keywords: Any) -> Report:
    sink = events if events is not None else []
    return await sync(sync_options(tmp_path, *images, **keywords), sink.append)


def cache(tmp_path: Path) -> Path:
    return tmp_path / "saved-image-cache"


def named(root: Path) -> list[str]:
    """The images that both index files name, in the same order."""
    listed = json.loads((root / "saved-images-list.json").read_text())["List"]
    entries = json.loads((root / "index.json").read_text())["manifests"]
    names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries]
    # What is named by its digest has that as its tag in the list.
    assert [f"{one['Source']}:{one['Tag']}" for one in listed] == [Reference.parse(name).cache_name for name in names]
    return names


async def is_a_save_of(tmp_path: Path, root: Path, *images: str) -> None:
    """Whether a cache is what one save of all these images makes of them, and the archive of it too."""
    place = tmp_path / "other"
    place.mkdir()
    await run(place, *images)
    if root.name != "with strangers":
        assert tree(root) == tree(place / "out")
    assert (await verify(VerifyOptions(root))).problems == ()
    await compress(
        CompressOptions(cache=root, output=OutputSettings(target=place / "packed.tar", format="gzip", sync=False))
    )
    await run(place, *images, format="gzip", destination=place / "saved.tar")
    assert (place / "packed.tar").read_bytes() == (place / "saved.tar").read_bytes()


async def test_into_nothing_it_makes_a_cache(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    report = await bring(tmp_path, *lines(dated_apps, 0, 1))
    assert report.status == 0
    assert report.output is not None
    assert report.output.files == (cache(tmp_path),)
    assert not (tmp_path / "out").exists()
    await is_a_save_of(tmp_path, cache(tmp_path), *lines(dated_apps, 0, 1))


async def test_into_an_empty_directory_it_makes_a_cache(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    cache(tmp_path).mkdir()
    await bring(tmp_path, *lines(dated_apps, 2))
    await is_a_save_of(tmp_path, cache(tmp_path), *lines(dated_apps, 2))


async def test_more_images_make_a_save_of_all(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    """Also the time of the list, which is of an image that was there before."""
    await run(tmp_path, *lines(dated_apps, 1, 0), format="gzip")
    report = await bring(tmp_path, *lines(dated_apps, 2, 3))
    assert report.status == 0
    assert named(cache(tmp_path)) == lines(dated_apps, 1, 0, 2, 3)
    await is_a_save_of(tmp_path, cache(tmp_path), *lines(dated_apps, 1, 0, 2, 3))


async def test_into_a_directory_that_a_save_made(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    await run(tmp_path, *lines(dated_apps, 0, 1), destination=tmp_path / "made")
    asked = dated_apps.blobs_asked().total()
    await bring(tmp_path, *lines(dated_apps, 2), cache=tmp_path / "made")
    assert dated_apps.blobs_asked()[str(BASE.digest)] == 1
    assert dated_apps.blobs_asked().total() > asked
    await is_a_save_of(tmp_path, tmp_path / "made", *lines(dated_apps, 0, 1, 2))


async def test_an_image_of_the_same_name_takes_its_place(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    await run(tmp_path, *lines(dated_apps, 0, 1, 2), format="gzip")
    dated_apps.add("app1:1", small("other", BASE))
    report = await bring(tmp_path, *lines(dated_apps, 3, 1))
    assert report.status == 0
    assert named(cache(tmp_path)) == lines(dated_apps, 0, 1, 2, 3)
    shutil.move(cache(tmp_path), tmp_path / "with strangers")
    await is_a_save_of(tmp_path, tmp_path / "with strangers", *lines(dated_apps, 0, 1, 2, 3))


async def test_the_same_again_changes_nothing(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    await bring(tmp_path, *lines(dated_apps, 0, 1, 2))
    before = tree(cache(tmp_path))
    asked = dated_apps.blobs_asked().total()
    for images in (lines(dated_apps, 0, 1, 2), lines(dated_apps, 2, 0), lines(dated_apps, 1)):
        assert (await bring(tmp_path, *images)).status == 0
        assert tree(cache(tmp_path)) == before
    assert dated_apps.blobs_asked().total() == asked


async def test_images_by_digest_and_in_part_stay_what_they_are(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    digest = dated_apps.add("app0:1", index([small("a", BASE), small("b", BASE, platform=ARM64)]))
    by_digest = f"{dated_apps.address}/app0@{digest}"
    amd64: dict[str, Any] = {"architectures": ["amd64"]}
    await run(tmp_path, by_digest, *lines(dated_apps, 1), format="gzip", **amd64)
    await bring(tmp_path, *lines(dated_apps, 2), **amd64)
    assert named(cache(tmp_path)) == [by_digest, *lines(dated_apps, 1, 2)]
    place = tmp_path / "other"
    place.mkdir()
    await run(place, by_digest, *lines(dated_apps, 1, 2), **amd64)
    assert tree(cache(tmp_path)) == tree(place / "out")


async def test_a_failed_image_costs_the_index_nothing(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    await run(tmp_path, *lines(dated_apps, 0, 1), format="gzip")
    before = tree(cache(tmp_path))
    missing = f"{dated_apps.address}/none:1"
    report = await bring(tmp_path, missing, failed=tmp_path / "sync-failed.txt")
    assert report.status == 3
    assert names_in(tmp_path / "sync-failed.txt") == [missing]
    assert tree(cache(tmp_path)) == before
    report = await bring(tmp_path, missing, *lines(dated_apps, 2), failed=tmp_path / "sync-failed.txt")
    assert report.status == 1
    assert named(cache(tmp_path)) == lines(dated_apps, 0, 1, 2)
    # An image that was there and cannot be had again stays as it was.
    dated_apps.add("app0:1", small("app0", BASE, layer({"gone": b"1"})))
    gone = str(layer({"gone": b"1"}).digest)
    dated_apps.fail(gone, Status(404), times=None)
    report = await bring(tmp_path, *lines(dated_apps, 0))
    assert report.status == 3
    assert named(cache(tmp_path)) == lines(dated_apps, 0, 1, 2)
    image = next(
        one for one in (await verify(VerifyOptions(cache(tmp_path)))).images if one.name == lines(dated_apps, 0)[0]
    )
    assert len(image.platforms) == 2


@pytest.mark.parametrize("name", ["index.json", "saved-images-list.json"])
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"List": [], "Version": "v9"}'])
async def test_an_unreadable_index_stays_as_it_is(
    dated_apps: FakeRegistry, tmp_path: Path, name: str, data: bytes
) -> None:
    await run(tmp_path, *lines(dated_apps, 0, 1), format="gzip")
    (cache(tmp_path) / name).write_bytes(data)
    before = tree(cache(tmp_path))
    dated_apps.requests.clear()
    with pytest.raises(UsageError, match="cannot merge with the index"):
        await bring(tmp_path, *lines(dated_apps, 2))
    assert tree(cache(tmp_path)) == before
    assert not dated_apps.requests


async def test_a_cache_of_hangar_is_refused_unchanged(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    await run(tmp_path, *lines(dated_apps, 0, 1), format="gzip")
    (cache(tmp_path) / "index.json").unlink()
    before = tree(cache(tmp_path))
    with pytest.raises(UsageError, match=r"its index\.json does not name"):
        await bring(tmp_path, *lines(dated_apps, 2))
    assert tree(cache(tmp_path)) == before


async def test_a_layout_of_another_program_is_refused_unchanged(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    """Its `blobs` is a directory full of what it holds."""
    (cache(tmp_path) / "blobs" / "sha256").mkdir(parents=True)
    (cache(tmp_path) / "blobs" / "sha256" / ("0" * 64)).write_text("theirs")
    (cache(tmp_path) / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    before = tree(cache(tmp_path))
    with pytest.raises(UsageError, match="is a layout of another program"):
        await bring(tmp_path, *lines(dated_apps, 0))
    assert {name: data for name, data in tree(cache(tmp_path)).items() if not name.startswith("share")} == before


async def test_an_image_named_by_the_layout_alone_stays_named(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    """Another program has put an image in by its name; or a run was killed between the two index files."""
    await run(tmp_path, *lines(dated_apps, 0, 1), format="gzip")
    before = (cache(tmp_path) / "saved-images-list.json").read_bytes()
    await bring(tmp_path, *lines(dated_apps, 2, 3))
    (cache(tmp_path) / "saved-images-list.json").write_bytes(before)
    report = await bring(tmp_path, *lines(dated_apps, 3))
    assert any("app2:1 was incomplete before" in notice for notice in report.notices)
    entries = json.loads((cache(tmp_path) / "index.json").read_text())["manifests"]
    assert [one["annotations"]["org.opencontainers.image.ref.name"] for one in entries] == lines(dated_apps, 0, 1, 2, 3)
    # The same command again, as after a kill: all is as if nothing had been.
    await bring(tmp_path, *lines(dated_apps, 2, 3))
    await is_a_save_of(tmp_path, cache(tmp_path), *lines(dated_apps, 0, 1, 2, 3))


async def test_a_first_run_that_was_killed_at_its_end_goes_on(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    await bring(tmp_path, *lines(dated_apps, 0, 1))
    (cache(tmp_path) / "saved-images-list.json").unlink()
    await bring(tmp_path, *lines(dated_apps, 0, 1))
    await is_a_save_of(tmp_path, cache(tmp_path), *lines(dated_apps, 0, 1))


async def test_an_incomplete_image_is_told_of_and_stays_named(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    await run(tmp_path, *lines(dated_apps, 0, 1), format="gzip")
    listed = json.loads((cache(tmp_path) / "saved-images-list.json").read_text())["List"]
    shutil.rmtree(cache(tmp_path) / listed[0]["Images"][1]["Folder"])
    events: list[Event] = []
    report = await bring(tmp_path, *lines(dated_apps, 2), events=events)
    assert [notice for notice in report.notices if "app0:1 was incomplete before" in notice]
    again = json.loads((cache(tmp_path) / "saved-images-list.json").read_text())["List"]
    assert again[:2] == listed
    assert (await verify(VerifyOptions(cache(tmp_path)))).status == 1
    await bring(tmp_path, *lines(dated_apps, 0))
    await is_a_save_of(tmp_path, cache(tmp_path), *lines(dated_apps, 0, 1, 2))


async def test_cancelled_anywhere_the_index_is_whole(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    await run(tmp_path, *lines(dated_apps, 0, 1), format="gzip")
    for number in range(1, 12, 2):
        countdown = Countdown(number)
        countdown.watched = asyncio.create_task(sync(sync_options(tmp_path, *lines(dated_apps, 2, 3)), countdown))
        try:
            await countdown.watched
        except asyncio.CancelledError:
            assert named(cache(tmp_path)) in (lines(dated_apps, 0, 1), lines(dated_apps, 0, 1, 2, 3))
        assert (await verify(VerifyOptions(cache(tmp_path)))).problems == ()
    await bring(tmp_path, *lines(dated_apps, 2, 3))
    await is_a_save_of(tmp_path, cache(tmp_path), *lines(dated_apps, 0, 1, 2, 3))


async def test_two_at_once_do_not_mix(dated_apps: FakeRegistry, tmp_path: Path) -> None:
    """The second is told that the first is at work, or comes after it; no image is lost."""
    await run(tmp_path, *lines(dated_apps, 0), format="gzip")
    both = await asyncio.gather(
        bring(tmp_path, *lines(dated_apps, 1)), bring(tmp_path, *lines(dated_apps, 2)), return_exceptions=True
    )
    done = [number for number, found in zip((1, 2), both, strict=True) if isinstance(found, Report)]
    assert done
    assert all("is in use by" in str(found) for found in both if not isinstance(found, Report))
    assert sorted(named(cache(tmp_path))) == sorted(lines(dated_apps, 0, *done))
    assert sorted(os.listdir(tmp_path)) == ["out.tar.gz", "out.tar.gz.sha256", "saved-image-cache"]


async def test_a_file_system_without_locks_and_sync_of_directories_is_told_once(
    fake_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def sync_no_directory(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    def lock_nothing(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(os, "fsync", sync_no_directory)
    monkeypatch.setattr(fcntl, "flock", lock_nothing)
    fake_registry.add("one:1", small("one"))
    report = await run(tmp_path, f"{fake_registry.address}/one:1", format="gzip")
    assert report.status == 0
    assert [sum(word in text for text in report.notices) for word in ("has no locks", "cannot sync")] == [1, 1]
    assert len(report.notices) == 2


@pytest.mark.parametrize("form", ["dir", "gzip"])
@pytest.mark.parametrize("built", [index([]), buildkit_cache()], ids=["without-entries", "cache-of-buildkit"])
async def test_an_index_without_images_goes_all_the_way(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, built: Built, form: str
) -> None:
    """Saved, verified, listed, packed again, loaded, compared, extracted and served, each time the same bytes."""
    fake_registry.add("team/app:1", built)
    name = f"{fake_registry.address}/team/app:1"
    report = await run(tmp_path, name, architectures=["all"], format=form, cache=None, validate=True)
    assert report.status == 0, [str(outcome.error) for outcome in report.failed]
    assert report.output is not None
    source = report.output.path
    for path in (source, await _packed(source, tmp_path) if form == "dir" else source):
        assert (await verify(VerifyOptions(path))).problems == ()
        assert [image.digest for image in (await ls(ListOptions(path))).images] == [built.digest]
    loaded = await run_load(tmp_path, source, pushable_registry)
    assert [outcome.state for outcome in loaded.outcomes] == ["pushed"], loaded.failed
    assert await tagged(pushable_registry.content, "team/app:1") == built.digest
    for digest, data in built.blobs.items():
        assert await pushable_registry.content.size("team/app", digest) == len(data)
    assert (await run_validate(tmp_path, source, pushable_registry)).status == 0
    await extract(ExtractOptions(source=source, image=name, destination=tmp_path / "layout", sync=False))
    names = {digest.hex for digest in (*built.documents, *built.blobs)}
    assert {path.name for path in (tmp_path / "layout" / "blobs" / "sha256").iterdir()} == names
    again = await run_load(tmp_path, tmp_path / "layout", pushable_registry)
    assert again.status == 0, again.failed
    with pytest.raises(UsageError, match="has no platforms"):
        await extract(
            ExtractOptions(source=source, image=name, destination=tmp_path / "d.tar", format="docker-archive")
        )
    async with served(source) as client:
        answer, raw = await client.get("/v2/team/app/manifests/1")
        assert (answer.status, raw) == (200, built.raw)
        for digest, data in built.blobs.items():
            answer, raw = await client.get(f"/v2/team/app/blobs/{digest}")
            assert (answer.status, raw) == (200, data)


async def _packed(cache: Path, tmp_path: Path) -> Path:
    output = OutputSettings(target=tmp_path / "packed.tar.gz", sync=False)
    report = await compress(CompressOptions(cache=cache, output=output))
    assert report.status == 0, report.failed
    return output.target


@pytest.mark.parametrize(
    ("keywords", "remarks"),
    [
        ({"architectures": ("amd64", "arm/v6")}, ["no image has the architecture arm/v6 (--arch)"]),
        ({"architectures": ("amd64",)}, []),
        ({}, []),
        ({"format": "gzip", "name": "out.tar.zst"}, ["out.tar.zst will be a gzip archive: its name is that of zstd"]),
    ],
)
async def test_ignored_wishes_are_warned_of(
    fake_registry: FakeRegistry, tmp_path: Path, keywords: dict[str, Any], remarks: list[str]
) -> None:
    fake_registry.add("app:1", small("app"))
    if name := keywords.pop("name", ""):
        keywords["destination"] = tmp_path / name
    report = await run(tmp_path, f"{fake_registry.address}/app:1", **keywords)
    assert report.status == 0
    assert [text.removeprefix(f"{tmp_path}/").partition(" (--compress")[0] for text in report.notices] == remarks


async def test_a_report_says_what_a_run_took(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    fake_registry.add("app:1", small("app"))
    report = await run(tmp_path, f"{fake_registry.address}/app:1", format="gzip", destination=tmp_path / "out")
    assert report.effort is not None
    assert report.effort.most >= 1
    count, seconds = report.effort.moved[fake_registry.address]
    assert count > 0
    assert seconds > 0
    assert report.effort.hashing > 0
    assert report.effort.disk > 0
    assert report.effort.closed == {}


async def test_shards_are_saved_apart_and_one_without_images_is_no_failure(
    four_apps: FakeRegistry, tmp_path: Path
) -> None:
    name = f"{four_apps.address}/app0"
    mine = next(number for number in range(2) if name in Shard(number, 2))
    empty = await run(tmp_path, f"{name}:1", shard=f"{1 - mine}/2", report=tmp_path / "report.json")
    assert (empty.status, empty.outcomes, empty.output) == (0, (), None)
    assert json.loads((tmp_path / "report.json").read_text())["images"] == []
    assert four_apps.asked("/app0/") == []
    assert not (tmp_path / "out").exists()
    report = await run(tmp_path, f"{name}:1", shard=f"{mine}/2")
    assert (report.status, len(report.saved)) == (0, 1)
