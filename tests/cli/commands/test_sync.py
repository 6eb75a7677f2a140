from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.options import SyncOptions
from hangar_async.testing.images import image, layer
from tests.cli.conftest import Program
from tests.cli.programs import command, environment
from tests.cli.site import AMD64, Done, Site


def test_defaults(asked_syncs: list[SyncOptions], program: Program) -> None:
    assert program("sync", "-f", "list.txt").status == 0
    assert asked_syncs == [
        SyncOptions(
            images=Path("list.txt"),
            systems=("all",),
            failed=Path("sync-failed.txt"),
            cache=Path("saved-image-cache"),
            environment=Environment.read(),
        )
    ]
    assert asked_syncs[0].cache == Path("saved-image-cache")


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("--file=x", "images", Path("x")),
        ("-a arm64,arm/v7", "architectures", ("arm64", "arm/v7")),
        ("--os windows", "systems", ("windows",)),
        ("-d all", "cache", Path("all")),
        ("--destination .", "cache", Path()),
        ("-o f.txt", "failed", Path("f.txt")),
        ("-j 4", "jobs", 4),
        ("--source=reg.example.com", "source", "reg.example.com"),
        ("--include-foreign", "include_foreign", True),
    ],
)
def test_each_option(asked_syncs: list[SyncOptions], program: Program, line: str, name: str, value: object) -> None:
    assert program("sync", "-f", "list.txt", *line.split()).status == 0
    assert getattr(asked_syncs[0], name) == value


def test_global_flags_reach_the_engine(asked_syncs: list[SyncOptions], program: Program) -> None:
    assert program("--tls-verify=false", "sync", "-f", "x", "--quiet").status == 1
    assert not asked_syncs[0].environment.registries.tls_verify


async def test_images_are_added(site: Site) -> None:
    site.list("two:2")
    assert (await site.save("-f", "list.txt", "--quiet")).status == 0
    site.list("team/one:1", "gone:1")
    first = await site.run("sync", "-f", "list.txt", "-j", "4")
    rows = first.rows()
    assert first.status == 1
    assert rows["synced"] == ["1 of 2 images, 2 platforms; 1 failed"]
    assert rows["directory"] == [str(site.home.resolve() / "saved-image-cache")]
    assert rows["index"] == ["names 2 images, 3 platforms"]
    assert rows["next"] == [
        "the failed lines are in sync-failed.txt; to try these again:",
        "hangar-async sync -f sync-failed.txt -o sync-failed-2.txt -j 4",
    ]
    site.push("gone", "1", image([layer({"late": b"1"})], AMD64))
    again = await site.shell(rows["next"][1])
    assert (again.status, again.rows()["index"]) == (0, ["names 3 images, 4 platforms"])
    assert not (site.home / "sync-failed-2.txt").exists()
    listed = json.loads((await site.run("ls", "--json", "saved-image-cache")).out)["images"]
    assert [one["name"].split("/", 1)[1] for one in listed] == ["two:2", "team/one:1", "gone:1"]
    assert await site.run("verify", "--quiet", "saved-image-cache") == Done(0, "", "")


async def test_nothing_synced(site: Site) -> None:
    site.list("gone:1")
    done = await site.run("sync", "-f", "list.txt", "-d", "cache")
    assert done.status == 3
    assert done.rows()["directory"] == ["nothing was saved; the index of cache is as it was"]
    quiet = await site.run("sync", "-f", "list.txt", "-d", "cache", "--quiet")
    assert (quiet.status, quiet.out, len(quiet.err.splitlines())) == (3, "", 3)


async def test_termination_leaves_the_index_as_it_was(site: Site) -> None:
    site.list("two:2")
    assert (await site.save("-f", "list.txt", "--quiet")).status == 0
    before = (site.home / "saved-image-cache" / "index.json").read_bytes()
    site.list("team/one:1")
    site.gate.clear()
    site.waiting.clear()
    process = await asyncio.create_subprocess_exec(
        *command("sync", "-f", "list.txt", "--quiet"), cwd=site.home, env=environment(site.home), stderr=-1
    )
    await site.waiting.wait()
    process.send_signal(signal.SIGTERM)
    _, err = await process.communicate()
    site.gate.set()
    assert process.returncode == 143
    assert err.decode() == "hangar-async: terminated: what was fetched stays in the cache (once more ends at once)\n"
    assert (site.home / "saved-image-cache" / "index.json").read_bytes() == before
