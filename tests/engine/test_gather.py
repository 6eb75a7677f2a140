"""Sources of any form become one cache, each digest once."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.disk import Disk
from hangar_async.engine.gather import Sources
from hangar_async.errors import DigestMismatch, UsageError
from hangar_async.testing.images import Built, image, index, layer
from hangar_async.threads import Interrupt
from tests.engine.made import make_cache, make_layout
from tests.fakes.images import AMD64, ARM64, small
from tests.fakes.sources import COMPRESSIONS, docker, hangar_zip, tar, zipped
from tests.layout.rig import REF

BASE = layer({"base": b"base" * 1000})
ONE, TWO = image([BASE, layer({"a": b"1"})], AMD64), image([BASE, layer({"a": b"2"})], AMD64)


def sources(prefer: str | None, *paths: Path) -> Sources:
    return Sources(paths, prefer, Interrupt())


def layout(path: Path, *images: tuple[Built, str]) -> Path:
    return make_layout(path, [(built, {REF: name}) for built, name in images])


def test_images_stand_in_the_order_of_their_sources_and_contents_are_written_once(tmp_path: Path) -> None:
    first = layout(tmp_path / "a", (ONE, "app:1"))
    second = make_cache(
        tmp_path / "b", {"app:2": TWO, "app:1": ONE, "both:1": index([ONE, small("x", platform=ARM64)])}
    )
    (tmp_path / "c").write_bytes(COMPRESSIONS["zstd"](tar(docker(image([layer({"d": b"3"}, "none")], AMD64)))))
    found = sources(None, first, second, tmp_path / "c")
    assert [one.reference.repository for one in found.images] == [
        "library/app",
        "library/app",
        "library/both",
        "team/app",
    ]
    assert [one.problems for one in found.images] == [()] * 4
    assert all(platform.folder for one in found.images for platform in one.platforms)
    root = tmp_path / "cache"
    written: list[int] = []
    found.write(root, Disk(), written.append)
    names = {path.name for path in (root / "share" / "sha256").iterdir()}
    assert names == {content.digest.hex for one in found.images for content in one.contents}
    assert not found.notices


@pytest.mark.parametrize(("prefer", "chosen"), [("first", ONE), ("last", TWO), (None, None)])
def test_of_two_images_of_one_name_one_is_chosen_or_none(
    tmp_path: Path, prefer: str | None, chosen: Built | None
) -> None:
    paths = layout(tmp_path / "a", (ONE, "app:1")), layout(tmp_path / "b", (TWO, "app:1"))
    if chosen is None:
        with pytest.raises(
            UsageError, match=rf"app:1 is {ONE.digest} in one .* and {TWO.digest} in a later one: choose"
        ):
            sources(prefer, *paths)
        return
    found = sources(prefer, *paths)
    assert [one.digest for one in found.images] == [chosen.digest]
    assert len(found.notices) == 1


def test_archives_of_hangar_have_an_image_of_several_platforms_in_common(tmp_path: Path) -> None:
    """They name no index of it: the one that is made of its platforms tells whether it is the same."""
    arm, paths = small("arm", platform=ARM64), [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    for path, built in zip(paths, (ONE, ONE, TWO), strict=True):
        path.write_bytes(zipped(hangar_zip("registry.example.com/app", "1", index([built, arm]))))
    (found,) = sources(None, *paths[:2]).images
    assert found.problems == ()
    with pytest.raises(UsageError, match=r"app:1 is sha256:.* in one source, and sha256:.* in a later one"):
        sources(None, *paths[1:])


def test_the_whole_one_of_equal_images_is_taken(tmp_path: Path) -> None:
    broken, whole = layout(tmp_path / "a", (ONE, "app:1")), layout(tmp_path / "b", (ONE, "app:1"))
    (broken / "blobs" / "sha256" / BASE.digest.hex).unlink()
    for paths in ((broken, whole), (whole, broken)):
        (found,) = sources(None, *paths).images
        assert found.problems == ()
    (found,) = sources(None, broken).images
    assert found.problems


def test_a_damaged_blob_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    path = layout(tmp_path / "a", (ONE, "app:1"))
    (path / "blobs" / "sha256" / BASE.digest.hex).write_bytes(bytes(len(BASE.data)))
    with pytest.raises(DigestMismatch, match=BASE.digest.hex) as caught:
        sources(None, path).write(tmp_path / "cache", Disk(), lambda _: None)
    assert "verify" in caught.value.advice
    assert not (tmp_path / "cache").exists()
