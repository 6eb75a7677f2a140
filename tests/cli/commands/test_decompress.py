from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Program
from tests.cli.shelf import Shelf


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("[!.]*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize("name", ["plain.tar.gz", "plain.tar.zstd", "split.tar.gz", "split.tar.gz.part3"])
@pytest.mark.parametrize("flags", [[], ["-d", "my cache"]])
def test_the_packed_files_come_out(shelf: Shelf, program: Program, tmp_path: Path, name: str, flags: list[str]) -> None:
    done = program("decompress", "-f", str(shelf.home / name), *flags)
    place = tmp_path / (flags or ["", "saved-image-cache"])[1]
    assert done.status == 0
    assert done.rows()["directory"][0].startswith(f"{place}, ")
    assert done.rows()["index"] == ["names 2 images, 3 platforms"]
    assert files(place) == files(shelf.home / "saved-image-cache")
    assert program("verify", "--quiet", str(place)).status == 0


def test_an_archive_of_hangar_s_own(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    done = program("decompress", "--file", str(shelf.home / "foreign.tar.gz"), "--quiet")
    assert (done.status, done.out, done.err) == (0, "", "")
    wanted = files(shelf.home / "saved-image-cache")
    assert files(tmp_path / "saved-image-cache").items() <= wanted.items()


@pytest.mark.parametrize(
    ("name", "flags", "said"),
    [
        ("plain.tar.gz", ["--format", "zstd"], "plain.tar.gz is gzip, not zstd (--format)\n"),
        ("plain.tar.zstd", ["--format=gzip"], "plain.tar.zstd is zstd, not gzip (--format)\n"),
        ("plain.tar.gz", ["-d", "full"], "the destination full exists and is not empty: remove it, or choose another"),
        ("plain.tar.gz", ["-d", "none/out"], "the directory none does not exist (-d none/out): make it first\n"),
    ],
)
def test_an_impossible_decompress_is_an_error(
    shelf: Shelf, program: Program, tmp_path: Path, name: str, flags: list[str], said: str
) -> None:
    shelf.copy("plain.*", tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    before = sorted(path.name for path in tmp_path.iterdir())
    done = program("decompress", "-f", name, *flags)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"hangar-async: {said}")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_format_may_be_said(shelf: Shelf, program: Program) -> None:
    assert program("decompress", "-f", str(shelf.home / "plain.tar.zstd"), "--format", "zstd").status == 0


def test_a_damaged_archive_leaves_nothing(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    shelf.copy("plain.tar.gz", tmp_path)
    data = bytearray((tmp_path / "plain.tar.gz").read_bytes())
    data[150_000] ^= 1
    (tmp_path / "plain.tar.gz").write_bytes(data)
    done = program("decompress", "-f", "plain.tar.gz", "--quiet")
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert "is damaged" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["plain.tar.gz"]
