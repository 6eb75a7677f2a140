"""The programs of the field read what is written: whole, from one file or from parts."""

import subprocess
from pathlib import Path

import pytest

from hangar_async.archive.write.writer import ArchiveWriter
from tests.archive.samples import INDEX, ROOT, blob_path, needs, noise, text, write

BLOBS = [noise(700_000, seed=5), text(2_500_000), b"", b"x", text(513)]
LONG = f"{ROOT}/share/sha512/{'e' * 128}"
GZIP = {
    "tar": "tar -xzf {0}",
    "pipe": "cat {0} | tar -xzf -",
    "gzip": "gzip -dc {0} | tar -xf -",
    "pigz": "pigz -dc {0} | tar -xf -",
    "bsdtar": "bsdtar -xf {0}",
    "busybox": "busybox tar -xzf {0}",
    "busybox gunzip": "busybox gunzip -c {0} | busybox tar -xf -",
}
ZSTD = {
    "tar": "tar --zstd -xf {0}",
    "zstd": "zstd -dc {0} | tar -xf -",
    "bsdtar": "bsdtar -xf {0}",
    "busybox": "zstd -dc {0} | busybox tar -xf -",
}
CASES = [("gzip", name, GZIP[name]) for name in GZIP] + [("zstd", name, ZSTD[name]) for name in ZSTD]


def run(command: str, directory: Path) -> str:
    needs(*(step.split()[0] for step in command.split("|")))
    found = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=directory, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stderr


def check_unpacked(directory: Path) -> None:
    for data in BLOBS:
        assert (directory / blob_path(data)).read_bytes() == data
    assert (directory / ROOT / "blobs").readlink() == Path("share")
    assert (directory / ROOT / ("f" * 64) / "blobs").is_dir()
    assert (directory / ROOT / ("f" * 64) / "index.json").read_bytes() == b"{}"
    assert (directory / INDEX).stat().st_mode & 0o7777 == 0o644
    assert (directory / ROOT).stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(("kind", "name", "command"), CASES, ids=[f"{kind}-{name}" for kind, name, _ in CASES])
def test_it_is_unpacked_by(tmp_path: Path, kind: str, name: str, command: str) -> None:
    write(tmp_path / "a.tar", kind, BLOBS)
    assert run(command.format("a.tar"), tmp_path) == ""
    check_unpacked(tmp_path)


@pytest.mark.parametrize("command", ["gzip -t a", "pigz -t a", "busybox gunzip -t a"])
def test_gzip_programs_find_it_whole(tmp_path: Path, command: str) -> None:
    write(tmp_path / "a.gz", "gzip", BLOBS)
    assert run(command + ".gz", tmp_path) == ""


def test_zstd_finds_it_whole(tmp_path: Path) -> None:
    write(tmp_path / "a.zst", "zstd", BLOBS)
    run("zstd -qt a.zst", tmp_path)
    run("zstd -dqc --memory=8MB a.zst >/dev/null", tmp_path)


@pytest.mark.parametrize(("kind", "flag"), [("gzip", "-xz"), ("zstd", "-x --zstd")])
@pytest.mark.parametrize("count", [3, 10, 120])
def test_parts_are_joined_by_cat(tmp_path: Path, kind: str, flag: str, count: int) -> None:
    size = write(tmp_path / "a", kind, BLOBS).size
    written = write(tmp_path / "a", kind, BLOBS, part_size=-(-size // count))
    assert len(written.files) == count
    run(f"cat a.part* | tar {flag}", tmp_path)
    check_unpacked(tmp_path)


@pytest.mark.parametrize("command", ["tar -xzf a", "bsdtar -xf a", "busybox tar -xzf a"])
def test_names_that_do_not_fit_a_header_are_read(tmp_path: Path, command: str) -> None:
    with ArchiveWriter(tmp_path / "a", "gzip") as writer:
        for name in (ROOT, f"{ROOT}/share", f"{ROOT}/share/sha512"):
            writer.add_directory(name)
        writer.add_bytes(LONG, b"long")
        writer.commit()
    run(command, tmp_path)
    assert (tmp_path / LONG).read_bytes() == b"long"
