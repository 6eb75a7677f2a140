"""The commands that make outputs, each over an earlier output of other content: for the tests of crashes."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from hangar_async.archive.read.check import check_part
from hangar_async.config.environment import Environment
from hangar_async.config.options import (
    CompressOptions,
    DecompressOptions,
    ExtractOptions,
    LoginOptions,
    MergeOptions,
    MergeReportsOptions,
)
from hangar_async.config.output import OutputSettings
from hangar_async.engine.compress import compress, decompress, merge
from hangar_async.engine.extract import extract
from hangar_async.engine.login import login
from hangar_async.engine.merge_reports import merge_reports
from hangar_async.engine.open_layout import find_archive, layout_at
from hangar_async.engine.save import save, sync
from hangar_async.errors import StorageError, UsageError
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.files import INDEX_NAME, LIST_NAME, MARKER, MARKER_NAME, blob_name
from hangar_async.layout.images import read_cache
from hangar_async.oci import Digest
from hangar_async.store.publish import PublishDirectory
from hangar_async.testing.images import image, layer
from hangar_async.threads import in_thread
from tests.engine.forms import pack_as_hangar, tree
from tests.engine.loading import run_load
from tests.engine.rig import options, sync_options
from tests.fakes.images import AMD64, small
from tests.fakes.registry import FakeRegistry

Content: TypeAlias = Mapping[str, object]
SIZE = 90_000
PARTS = {"old": 20_000, "new": 40_000}


@dataclass(frozen=True)
class Scene:
    """A directory that a command works in, the registry, and the directory with what it reads."""

    place: Path
    registry: str
    shared: Path

    def image(self, version: str) -> str:
        """The name of the old or the new image."""
        return f"{self.registry}/{version}:1"

    def at(self, place: Path) -> Scene:
        """The same in another directory."""
        return Scene(place, self.registry, self.shared)


@dataclass(frozen=True)
class Command:
    """`run` makes the output of a version, `old` or `new`; `found` reads it and is {} where there is none.

    `earlier` tells whether the output of the old version is there before, `replaces` whether the command replaces one,
    `hard_links` whether the file system has them, and `one_file_system` whether cache and output are on the same.
    """

    run: Callable[[Scene, str], Awaitable[None]]
    found: Callable[[Scene], Awaitable[Content]]
    earlier: bool = True
    replaces: bool = True
    hard_links: bool = True
    one_file_system: bool = True

    def limit_machine(self, replace: Callable[[object, str, object], None]) -> None:
        """Let the machine be one that this command is run on, with `replace` in place of `setattr`."""
        if not self.hard_links:
            replace(os, "link", _refuse_links)
        if not self.one_file_system:
            replace(PublishDirectory, "_rename", _refuse_rename)

    async def prepare(self, scene: Scene) -> Content:
        """Make what is there before the command under test, and return the output of it."""
        scene.place.mkdir()
        if self.earlier:
            await self.run(scene, "old")
        return await self.found(scene)

    async def run_again(self, scene: Scene) -> None:
        """Run the command once more, after its output is removed where the command replaces none."""
        if not self.replaces:
            shutil.rmtree(scene.place / "out", ignore_errors=True)
        await self.run(scene, "new")


def add_images(registry: FakeRegistry) -> None:
    """Let a registry have the images of both versions."""
    registry.add("old:1", small("old"))
    registry.add("new:1", image([layer({"new": random.Random(3).randbytes(SIZE)}, "none")], AMD64))


async def make_shared(scene: Scene) -> None:
    """Make what the commands read: for each version an archive, one without index, and a cache."""
    for version in ("old", "new"):
        directory = scene.shared / version
        directory.mkdir(parents=True)
        cache, name = {"cache": directory / "cache"}, scene.image(version)
        report = {"report": directory / "report.json", "failed": None}
        saved = options(directory, name, **cache, format="gzip", destination=directory / "all.tar.gz", **report)
        assert (await save(saved)).status == 0
        shutil.rmtree(directory / "cache" / ".partial", ignore_errors=True)
        pack_as_hangar(directory / "cache", directory / "plain.tar.gz")
    sources = [scene.shared / version / "all.tar.gz" for version in ("old", "new")]
    both = OutputSettings(target=scene.shared / "both.tar.gz")
    assert (await merge(MergeOptions(sources=sources, output=both))).status == 0


def _saving(name: str, **keywords: Any) -> Command:
    form = "zstd" if name.endswith("zstd") else "gzip"
    parts, unhashed = keywords.pop("parts", ()), keywords.pop("unhashed", ())

    async def run(scene: Scene, version: str) -> None:
        wanted = {"format": form, "destination": scene.place / name, "cache": scene.place / "cache", "sync": True}
        sizes = {"part_size": PARTS[version]} if version in parts else {}
        checksum = "none" if version in unhashed else "sha256"
        report = await save(
            options(scene.place, scene.image(version), **wanted, **sizes, checksum=checksum, failed=None)
        )
        assert report.status == 0

    return Command(run, _archive(name), **keywords)


def _archive(name: str) -> Callable[[Scene], Awaitable[Content]]:
    async def found(scene: Scene) -> Content:
        return await in_thread(_read_archive, scene.place / name)

    return found


def _read_archive(path: Path) -> Content:
    """Read the files of an archive, and compare its parts with their digests."""
    try:
        archive = find_archive(path)
    except UsageError:
        return {}
    assert archive is not None
    assert archive.volume.strays == ()
    for part in archive.volume.parts:
        check_part(archive.volume, part, lambda _: None)
    files = layout_at(path, archive, lambda: None).files()
    found: Content = {file.name: Digest.of(b"".join(bytes(piece) for piece in file.pieces)) for file in files}
    return {**found, "has digests": all(part.digest is not None for part in archive.volume.parts)}


async def _run_directory(scene: Scene, version: str) -> None:
    wanted = {"format": "dir", "destination": scene.place / "out", "cache": scene.place / "cache", "sync": True}
    assert (await save(options(scene.place, scene.image(version), **wanted, failed=None))).status == 0


async def _run_sync(scene: Scene, version: str) -> None:
    wanted = sync_options(scene.place, scene.image(version), cache=scene.place / "cache", failed=None)
    assert (await sync(wanted)).status == 0


async def _cache(scene: Scene) -> Content:
    """Read the images that the index names, which must be whole; other blobs are fetched again when needed."""
    return await in_thread(_read_cache, scene.place / "cache")


def _read_cache(root: Path) -> Content:
    if not (root / INDEX_NAME).exists():
        assert not (root / LIST_NAME).exists()
        return {}
    # Other programs read this one alone.
    for entry in json.loads((root / INDEX_NAME).read_bytes())["manifests"]:
        assert (root / blob_name(Digest.parse(entry["digest"]))).exists()
    if not (root / LIST_NAME).exists():
        return {}
    images = read_cache(DirectoryLayout(root)).images
    for found in images:
        assert found.problems == () or found.problems[0].startswith(LIST_NAME), found.problems
        for content in found.contents:
            assert Digest.of((root / blob_name(content.digest)).read_bytes()) == content.digest
    folders = [platform.folder for found in images for platform in found.platforms]
    assert all((root / folder / MARKER_NAME).read_bytes() == MARKER for folder in (".", *folders))
    return {found.name: str(found.root) for found in images if not found.problems}


async def _run_compress(scene: Scene, version: str) -> None:
    for name in ("old", "new"):
        if not (scene.place / name).exists():
            shutil.copytree(scene.shared / name / "cache", scene.place / name, symlinks=True)
    report = await compress(
        CompressOptions(cache=scene.place / version, output=OutputSettings(target=scene.place / "out.tar.gz"))
    )
    assert report.status == 0


async def _run_decompress(scene: Scene, version: str) -> None:
    await decompress(DecompressOptions(archive=scene.shared / version / "all.tar.gz", destination=scene.place / "out"))


def _extracting(form: str) -> Callable[[Scene, str], Awaitable[None]]:
    async def run(scene: Scene, version: str) -> None:
        source = scene.shared / version / "all.tar.gz"
        await extract(
            ExtractOptions(source=source, image=scene.image(version), destination=scene.place / "out", format=form)
        )

    return run


async def _run_merge(scene: Scene, version: str) -> None:
    sources = [scene.shared / version / "all.tar.gz", scene.shared / version / "cache"]
    report = await merge(MergeOptions(sources=sources, output=OutputSettings(target=scene.place / "out.tar.gz")))
    assert report.status == 0


async def _run_extract_several(scene: Scene, version: str) -> None:
    """Two images at once, into a tar; the output of each version has both, in another order."""
    names = [scene.image("old"), scene.image("new")]
    await extract(
        ExtractOptions(
            source=scene.shared / "both.tar.gz",
            image=names if version == "new" else names[::-1],
            destination=scene.place / "out",
            format="oci-archive",
        )
    )


async def _run_report(scene: Scene, version: str) -> None:
    await merge_reports(
        MergeReportsOptions(reports=[scene.shared / version / "report.json"], report=scene.place / "out")
    )


async def _new_directory(scene: Scene) -> Content:
    return tree(scene.place / "out")


async def _new_file(scene: Scene) -> Content:
    path = scene.place / "out"
    return {"out": path.read_bytes()} if path.exists() else {}


async def _run_load(scene: Scene, version: str) -> None:
    report = await run_load(scene.place, scene.shared / version / "plain.tar.gz", scene.registry, failed=None)
    assert report.status == 0


async def _nothing(scene: Scene) -> Content:
    return {}


async def _run_login(scene: Scene, version: str) -> None:
    await _log_in(scene, version, scene.place / "config.json")


async def _run_first_login(scene: Scene, version: str) -> None:
    await _log_in(scene, version, scene.place / "new" / "config.json")


async def _log_in(scene: Scene, version: str, file: Path) -> None:
    environment = Environment(login_file=file)
    await login(LoginOptions(scene.registry, version, f"secret of {version}", environment))


async def _login(scene: Scene) -> Content:
    path = scene.place / "config.json"
    if not path.exists():
        path = scene.place / "new" / "config.json"
    return {"config": path.read_bytes()} if path.exists() else {}


COMMANDS = {
    "save-first": _saving("out.tar.gz", earlier=False),
    "save-gzip": _saving("out.tar.gz"),
    "save-zstd": _saving("out.tar.zstd"),
    "save-parts": _saving("out.tar.gz", parts=("old", "new")),
    "save-parts-over-a-file": _saving("out.tar.gz", parts=("new",)),
    "save-file-over-parts": _saving("out.tar.zstd", parts=("old",)),
    "save-without-hard-links": _saving("out.tar.gz", hard_links=False),
    "save-parts-without-hard-links": _saving("out.tar.gz", parts=("old", "new"), hard_links=False),
    "save-without-checksum": _saving("out.tar.gz", unhashed=("new",)),
    "save-over-one-without-checksum": _saving("out.tar.zstd", unhashed=("old",)),
    "save-parts-without-checksum-and-hard-links": _saving(
        "out.tar.gz", parts=("old", "new"), unhashed=("new",), hard_links=False
    ),
    "save-directory": Command(_run_directory, _new_directory, earlier=False, replaces=False),
    "save-directory-to-another-file-system": Command(
        _run_directory, _new_directory, earlier=False, replaces=False, one_file_system=False
    ),
    "sync-first": Command(_run_sync, _cache, earlier=False),
    "sync": Command(_run_sync, _cache),
    "compress": Command(_run_compress, _archive("out.tar.gz")),
    "decompress": Command(_run_decompress, _new_directory, earlier=False, replaces=False),
    "extract-layout": Command(_extracting("oci"), _new_directory, earlier=False, replaces=False),
    "extract-docker": Command(_extracting("docker-archive"), _new_file),
    "extract-several": Command(_run_extract_several, _new_file),
    "merge": Command(_run_merge, _archive("out.tar.gz")),
    "report": Command(_run_report, _new_file),
    "load": Command(_run_load, _nothing, earlier=False),
    "login-first": Command(_run_first_login, _login, earlier=False),
    "login": Command(_run_login, _login),
}


def _refuse_links(*_: object, **__: object) -> None:
    """Stand for `os.link` on a file system without hard links."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def _refuse_rename(publish: PublishDirectory) -> None:
    """Stand for the rename to another file system."""
    error = OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    raise StorageError.of(error, publish.target, "rename to") from error


def leftovers(place: Path) -> list[str]:
    """Temporary names; partial blobs in a cache are none."""
    found = []
    for _, directories, names in os.walk(place):
        found += [name for name in (*directories, *names) if name.endswith((".tmp", ".commit", ".aside"))]
        directories[:] = [name for name in directories if name != ".partial"]
    return found
