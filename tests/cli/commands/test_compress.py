from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from hangar_async.config.options import CompressOptions
from hangar_async.config.output import OutputSettings
from tests.cli.conftest import Program
from tests.cli.programs import command, environment
from tests.cli.shelf import PART, Shelf, huge_cache


@pytest.mark.parametrize(
    ("line", "cache", "output"),
    [
        ("", "saved-image-cache", OutputSettings(target=Path("saved-images.tar.gz"))),
        ("-f all -d x/out", "all", OutputSettings(target=Path("x/out.tar.gz"))),
        ("--file=all --destination=out.tgz", "all", OutputSettings(target=Path("out.tgz"))),
        (
            "--format zstd --compress-level=19",
            "saved-image-cache",
            OutputSettings(target=Path("saved-images.tar.zstd"), format="zstd", level=19),
        ),
        (
            "--part --part-size 3M",
            "saved-image-cache",
            OutputSettings(target=Path("saved-images.tar.gz"), part_size=3 << 20),
        ),
        (
            "--checksum none",
            "saved-image-cache",
            OutputSettings(target=Path("saved-images.tar.gz"), checksum="none"),
        ),
        ("--part=true", "saved-image-cache", OutputSettings(target=Path("saved-images.tar.gz"), part_size=2 << 30)),
        ("--part-size 3M --part=false", "saved-image-cache", OutputSettings(target=Path("saved-images.tar.gz"))),
    ],
)
def test_each_option(
    asked_compressions: list[tuple[CompressOptions, bool]],
    program: Program,
    line: str,
    cache: str,
    output: OutputSettings,
) -> None:
    assert program("compress", *line.split()).status == 0
    assert asked_compressions == [(CompressOptions(cache=Path(cache), output=output), False)]


def test_the_time_of_the_environment(
    asked_compressions: list[tuple[CompressOptions, bool]], program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert program("--quiet", "compress").status == 0
    [(options, quiet)] = asked_compressions
    assert (options.output.epoch, quiet) == (86400, True)


def test_the_archive_is_that_of_save(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    shelf.copy("saved-image-cache", tmp_path)
    done = program("compress", "-d", "plain")
    rows = done.rows()
    assert done.status == 0
    assert list(rows) == ["archive", "check", "unpack", "time", "packed"]
    assert rows["packed"] == ["2 images, 3 platforms"]
    assert (tmp_path / "plain.tar.gz").read_bytes() == (shelf.home / "plain.tar.gz").read_bytes()
    said = [line.split(maxsplit=1)[1] for line in done.err.splitlines()]
    assert said[0] == "start    2 images"
    assert said[1:3] == [f"done     {name}" for name in shelf.images]
    quiet = program("--quiet", "compress", "-d", "split", "--part", "--part-size", str(PART))
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")
    for path in shelf.home.glob("split.tar.gz.*"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("words", [[], ["--part", "--part-size", str(PART)]], ids=["one", "parts"])
def test_without_a_checksum_an_old_one_goes_and_the_archive_is_read(
    shelf: Shelf, program: Program, tmp_path: Path, words: list[str]
) -> None:
    shelf.copy("saved-image-cache", tmp_path)
    assert program("compress", "-d", "plain", "--quiet").status == 0
    assert (tmp_path / "plain.tar.gz.sha256").exists()
    done = program("compress", "-d", "plain", "--checksum", "none", *words)
    assert (done.status, "check" in done.rows()) == (0, False)
    pieces = sorted(tmp_path.glob("plain.tar.gz*"))
    assert [path.name for path in pieces if path.suffix == ".sha256"] == []
    assert b"".join(path.read_bytes() for path in pieces) == (shelf.home / "plain.tar.gz").read_bytes()
    assert "there is no SHA-256 of them" in program("verify", "plain.tar.gz").out
    listing = json.loads(program("ls", "plain.tar.gz", "--json").out)
    assert ({part["sha256"] for part in listing["parts"]}, listing["strays"]) == ({None}, [])
    assert program("load", "-s", "plain.tar.gz", "-d", "localhost:1", "--dry-run").status == 0
    assert program("extract", "plain.tar.gz", shelf.images[0], "-o", "image").status == 0
    assert program("decompress", "-f", "plain.tar.gz", "-d", "unpacked").status == 0


def test_a_name_like_a_part_needs_its_checksum(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    """Without it the file is one of the parts of another archive, which the next one of this name removes."""
    shelf.copy("saved-image-cache", tmp_path)
    done = program("compress", "-d", "x.part1", "--checksum", "none")
    assert (done.status, done.out) == (2, "")
    assert "leave out --checksum" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["saved-image-cache"]
    assert program("compress", "-d", "x.part1", "--quiet").status == 0


@pytest.mark.parametrize("quiet", [False, True])
def test_a_damaged_image_is_left_out_and_named(shelf: Shelf, program: Program, tmp_path: Path, quiet: bool) -> None:
    cache = shelf.copy("saved-image-cache", tmp_path) / "saved-image-cache"
    configs = [path for path in (cache / "share" / "sha256").iterdir() if b'"arm64"' in path.read_bytes()[:400]]
    config = next(path for path in configs if b'"schemaVersion"' not in path.read_bytes())
    config.write_bytes(b" " * config.stat().st_size)
    done = program("compress", *(["--quiet"] if quiet else []))
    assert done.status == 1
    said = done.err if quiet else done.out
    assert f"{shelf.images[0]}: bad content" in said
    assert "next       bring the failed images into saved-image-cache again, then run the same command again:\n" in said
    assert said.endswith(" hangar-async sync -f LIST\n")
    if quiet:
        assert done.out == ""
    else:
        assert done.rows()["packed"] == ["1 of 2 images, 1 platform; 1 failed"]
    assert program("verify", "saved-images.tar.gz", "--quiet").status == 0


def test_without_a_whole_image_nothing_is_written(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    cache = shelf.copy("saved-image-cache", tmp_path) / "saved-image-cache"
    for path in (cache / "share" / "sha256").iterdir():
        path.unlink()
    done = program("compress")
    assert (done.status, done.rows()["packed"]) == (3, ["0 of 2 images, 0 platforms; 2 failed"])
    assert done.rows()["output"] == ["no image of saved-image-cache is whole; nothing was written"]
    assert [path.name for path in tmp_path.iterdir()] == ["saved-image-cache"]


def test_a_directory_that_is_no_cache(program: Program, tmp_path: Path) -> None:
    (tmp_path / "saved-image-cache").mkdir()
    done = program("compress")
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)


def test_a_signal_ends_it_and_the_earlier_archive_stays(tmp_path: Path) -> None:
    huge_cache(tmp_path / "cache")
    (tmp_path / "out.tar.gz").write_text("earlier")
    line = command("compress", "-f", "cache", "-d", "out")
    with subprocess.Popen(
        line, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().endswith(" start    1 image\n")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")
    assert err == "hangar-async: interrupted: nothing was written (once more ends at once)\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out.tar.gz"]
    assert (tmp_path / "out.tar.gz").read_text() == "earlier"
