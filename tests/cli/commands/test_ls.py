from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from hangar_async.cli.view.text import size_text
from hangar_async.layout.parse import parse_index, parse_list
from tests.cli.conftest import Program
from tests.cli.shelf import PART, Shelf

DOCUMENT = {
    "path", "format", "indexed", "parts", "strays", "size", "content_size", "saved_time", "images",
}  # fmt: skip
IMAGE = {"name", "digest", "original", "size", "complete", "problems", "referrer", "platforms"}
PLATFORM = {"os", "architecture", "variant", "os_version", "digest", "size", "folder"}


def digests(shelf: Shelf) -> list[str]:
    roots = parse_index((shelf.home / "saved-image-cache" / "index.json").read_bytes())
    return [str(root.digest) for root in roots]


def test_a_table(shelf: Shelf, program: Program) -> None:
    done = program("ls", str(shelf.home / "plain.tar.gz"))
    facts, table = done.out.split("\n\n")
    one, two = digests(shelf)
    first, second = shelf.images
    images = json.loads(program("ls", str(shelf.home / "plain.tar.gz"), "--json").out)["images"]
    sizes = [size_text(image["size"]) for image in images]
    assert (done.status, done.err) == (0, "")
    lines = facts.splitlines()
    assert lines[0].startswith(f"archive    {shelf.home}/plain.tar.gz, ")
    assert lines[0].endswith(" KiB, gzip")
    assert lines[1].startswith("holds      2 images, 3 platforms, ")
    assert len(lines) == 2
    rows = [line.split("  ") for line in table.splitlines()]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        ["IMAGE", "DIGEST", "SIZE", "PLATFORMS"],
        [first, one, sizes[0], "linux/amd64, linux/arm64"],
        [second, two, sizes[1], "linux/amd64"],
    ]
    assert {line.index("sha256:") for line in table.splitlines()[1:]} == {table.index("DIGEST")}


@pytest.mark.parametrize("name", ["split.tar.gz", "split.tar.gz.part0", "split.tar.gz.part2"])
def test_parts_by_any_of_their_names(shelf: Shelf, program: Program, name: str) -> None:
    done = program("ls", str(shelf.home / name))
    assert done.status == 0
    rows = done.rows()
    assert rows["archive"][0].startswith(f"{shelf.home}/split.tar.gz, ")
    assert rows["parts"] == ["4 parts: split.tar.gz.part0 to split.tar.gz.part3"]


@pytest.mark.parametrize(("name", "form"), [("plain.tar.zstd", "zstd"), ("saved-image-cache", "dir")])
def test_other_forms_hold_the_same(shelf: Shelf, program: Program, name: str, form: str) -> None:
    plain, other = (json.loads(program("ls", "--json", str(shelf.home / one)).out) for one in ("plain.tar.gz", name))
    assert (other["format"], other["indexed"], other["images"]) == (form, True, plain["images"])
    assert other["content_size"] == plain["content_size"]
    assert len(other["parts"]) == (0 if form == "dir" else 1)


def test_json(shelf: Shelf, program: Program) -> None:
    done = program("ls", str(shelf.home / "split.tar.gz.part1"), "--json")
    found = json.loads(done.out)
    assert (done.status, done.err, found.keys()) == (0, "", DOCUMENT)
    files = sorted(shelf.home.glob("split.tar.gz.part*"))
    assert [(one["name"], one["size"]) for one in found["parts"]] == [
        (file.name, file.stat().st_size) for file in files
    ]
    assert [one["size"] for one in found["parts"]][:3] == [PART] * 3
    listed = (shelf.home / "split.tar.gz.sha256").read_text().split()
    assert [one["sha256"] for one in found["parts"]] == listed[::2]
    assert (found["path"], found["strays"]) == (str(shelf.home / "split.tar.gz"), [])
    assert found["size"] == sum(file.stat().st_size for file in files)
    saved = parse_list((shelf.home / "saved-image-cache" / "saved-images-list.json").read_bytes())
    assert found["saved_time"] == saved.saved
    assert [(one["name"], one["digest"]) for one in found["images"]] == list(
        zip(shelf.images, digests(shelf), strict=True)
    )
    for image, listed_image in zip(found["images"], saved.images, strict=True):
        assert image.keys() == IMAGE
        assert (image["original"], image["complete"], image["problems"]) == (None, True, [])
        for platform, listed_platform in zip(image["platforms"], listed_image.platforms, strict=True):
            assert platform.keys() == PLATFORM
            assert platform["digest"] == str(listed_platform.descriptor.digest)
            assert platform["folder"] == listed_platform.folder
            assert (platform["os"], platform["variant"], platform["os_version"]) == ("linux", "", "")


def test_an_archive_of_hangar_s_own(shelf: Shelf, program: Program) -> None:
    rows = program("ls", str(shelf.home / "foreign.tar.gz")).rows()
    assert rows["index"] == ["none: one image cannot be read without passing over the others"]
    found = json.loads(program("ls", str(shelf.home / "foreign.tar.gz"), "--json").out)
    assert (found["indexed"], [part["sha256"] for part in found["parts"]]) == (False, [None])
    # Of several platforms nothing there says by what they were one.
    assert [one["digest"] for one in found["images"]] == [None, digests(shelf)[1]]
    assert [len(one["platforms"]) for one in found["images"]] == [2, 1]


def test_incomplete_images_are_marked(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    cache = shelf.copy("saved-image-cache", tmp_path) / "saved-image-cache"
    whole = json.loads(program("ls", "--json", str(cache)).out)
    root = next(root for root in parse_index((cache / "index.json").read_bytes()) if root.reference.tag == "1")
    assert root.digest is not None
    (cache / "share" / "sha256" / root.digest.hex).unlink()
    done = program("ls", str(cache))
    rows = done.rows()
    assert done.status == 0
    assert rows["incomplete"][0] == f"{shelf.images[0]}: manifest {root.digest} is missing"
    assert "incomplete: linux/amd64, linux/arm64" in done.out
    found = json.loads(program("ls", "--json", str(cache)).out)
    assert [one["complete"] for one in found["images"]] == [False, True]
    assert found["images"][1] == whole["images"][1]


def test_many_problems_are_counted(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    cache = shelf.copy("saved-image-cache", tmp_path) / "saved-image-cache"
    for path in (cache / "share" / "sha256").iterdir():
        if b'"schemaVersion"' not in path.read_bytes():
            path.unlink()
    done = program("ls", str(cache), "--quiet")
    problems = done.rows()["incomplete"]
    assert (done.status, len(problems), problems[3]) == (0, 7, "and 2 more")
    assert [line.split(": ")[0] for line in problems[:3] + problems[4:]] == [
        name for name in shelf.images for _ in "123"
    ]


def test_quiet_shows_the_table_alone(shelf: Shelf, program: Program) -> None:
    done = program("ls", "--quiet", str(shelf.home / "plain.tar.gz"))
    assert [line.split()[0] for line in done.out.splitlines()] == ["IMAGE", *shelf.images]


def test_files_beside_the_parts_are_named(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    shelf.copy("split.tar.gz.*", tmp_path)
    (tmp_path / "split.tar.gz.part7").write_bytes(b"older")
    done = program("ls", "split.tar.gz")
    assert (done.status, done.rows()["stray"]) == (0, ["split.tar.gz.part7 is not of this archive"])
    assert json.loads(program("ls", "split.tar.gz", "--json").out)["strays"] == ["split.tar.gz.part7"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_table_fits(shelf: Shelf, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", screen)
    assert program("ls", "--quiet", str(shelf.home / "plain.tar.gz")).status == 0
    plain = screen.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert all(len(line) <= 80 for line in plain.splitlines())
    for digest in digests(shelf):
        assert f" {digest[:19]} " in plain
    for name in shelf.images:
        assert name in plain


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "text",
            "text is no archive: neither a tar, plain or compressed, nor a zip; give the name of an archive",
        ),
        ("split.tar.gz", "split.tar.gz.part1 is missing; copy split.tar.gz.part1 here again"),
        ("empty", "there are no images in it: neither"),
        ("cut.tar.gz", "cut.tar.gz: the compressed data are damaged before here"),
    ],
)
def test_an_unreadable_archive_is_an_error(
    shelf: Shelf, program: Program, tmp_path: Path, name: str, said: str
) -> None:
    shelf.copy("split.tar.gz.*", tmp_path)
    (tmp_path / "split.tar.gz.part1").unlink()
    (tmp_path / "text").write_text("no archive\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.tar.gz").write_bytes((shelf.home / "plain.tar.gz").read_bytes()[:200_000])
    done = program("ls", name)
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith(f"hangar-async: {said}")
