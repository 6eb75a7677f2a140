"""`ls`: the images, parts and sizes of an archive or a directory."""

import hashlib
import shutil
from pathlib import Path

import pytest

from hangar_async.config.options import ListOptions
from hangar_async.engine.events import CheckStarted, Event
from hangar_async.engine.ls import ls
from hangar_async.errors import ArchiveError, ContentError, UsageError
from tests.engine.forms import FORMS, HANGARS, Saved, parts


@pytest.mark.parametrize("form", FORMS)
async def test_all_images_of_every_form_are_listed_with_their_sizes(everything: Saved, form: str) -> None:
    listing = await ls(ListOptions(everything.at(form)))
    assert {image.name for image in listing.images} == set(everything.built)
    assert listing.incomplete == ()
    assert listing.format == ("dir" if form == "dir" else "zstd" if "zstd" in form else "gzip")
    assert listing.indexed == (form not in HANGARS)
    files = [] if form == "dir" else parts(everything.at(form))
    assert [part.path for part in listing.parts] == files
    assert listing.size == (listing.content_size if form == "dir" else sum(path.stat().st_size for path in files))
    assert listing.saved


async def test_parts_are_listed_with_the_digests_of_their_list(everything: Saved) -> None:
    listing = await ls(ListOptions(everything.at("gzip-3")))
    for part in listing.parts:
        assert part.sha256 == hashlib.sha256(part.path.read_bytes()).hexdigest()
        assert part.size == part.path.stat().st_size


async def test_files_that_only_look_like_parts_are_strays(everything: Saved, tmp_path: Path) -> None:
    path = everything.copy("gzip-3", tmp_path)
    stray = path.with_name(f"{path.name}.part99")
    stray.write_bytes(b"of another archive")
    listing = await ls(ListOptions(path))
    assert listing.strays == (stray,)
    assert len(listing.parts) == 3


async def test_an_image_whose_layer_is_missing_is_incomplete(everything: Saved, tmp_path: Path) -> None:
    path = everything.copy("dir", tmp_path)
    name, built = next((name, built) for name, built in everything.built.items() if "/zstd:1" in name)
    others = {digest for other, one in everything.built.items() if other != name for digest in one.blobs}
    own = next(digest for digest in built.blobs if digest not in others)
    (path / "share" / own.algorithm / own.hex).unlink()
    listing = await ls(ListOptions(path))
    assert [image.name for image in listing.incomplete] == [name]


async def test_a_long_pass_is_reported_for_archives_without_index_alone(everything: Saved) -> None:
    for form, count in (("gzip", 0), ("dir", 0), ("hangar-zstd", 1)):
        events: list[Event] = []
        await ls(ListOptions(everything.at(form)), events.append)
        assert len([event for event in events if isinstance(event, CheckStarted)]) == count


async def test_nothing_is_written(everything: Saved, tmp_path: Path) -> None:
    path = everything.copy("dir", tmp_path)
    before = {one: one.lstat().st_mtime_ns for one in path.rglob("*")}
    await ls(ListOptions(path))
    assert {one: one.lstat().st_mtime_ns for one in path.rglob("*")} == before


async def test_a_path_without_archive_or_cache_is_an_error(everything: Saved, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        await ls(ListOptions(tmp_path / "none"))
    (tmp_path / "short.tar.gz").write_bytes(everything.at("gzip").read_bytes()[:1000])
    with pytest.raises(ArchiveError):
        await ls(ListOptions(tmp_path / "short.tar.gz"))
    shutil.copytree(everything.at("dir") / "share", tmp_path / "share")
    with pytest.raises(ContentError, match="saved-images-list"):
        await ls(ListOptions(tmp_path / "share"))
