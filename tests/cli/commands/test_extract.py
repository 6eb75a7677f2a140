from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from hangar_async.layout.parse import parse_index
from tests.cli.conftest import Program
from tests.cli.programs import command, environment
from tests.cli.shelf import Shelf, huge_cache

FORMS = ["plain.tar.gz", "plain.tar.zstd", "split.tar.gz.part1", "foreign.tar.gz", "saved-image-cache"]


def blobs(layout: Path) -> set[str]:
    found = set()
    for path in (layout / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        found.add(path.name)
    return found


@pytest.mark.parametrize("name", FORMS)
def test_a_layout(shelf: Shelf, program: Program, tmp_path: Path, name: str) -> None:
    done = program("extract", str(shelf.home / name), shelf.images[1], "-o", "out")
    assert done.status == 0
    assert done.rows()["image"] == [shelf.images[1]]
    assert done.rows()["layout"][0].startswith(f"{tmp_path}/out, ")
    [root] = parse_index((tmp_path / "out" / "index.json").read_bytes())
    whole = parse_index((shelf.home / "saved-image-cache" / "index.json").read_bytes())
    assert (str(root.reference), root.digest) == (shelf.images[1], whole[1].digest)
    # The manifest, the config, two layers.
    assert len(blobs(tmp_path / "out")) == 4


def test_one_platform(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    line = ["extract", str(shelf.home / "plain.tar.gz"), shelf.images[0]]
    assert program(*line, "--output=all").status == 0
    assert program(*line, "-o", "one", "--platform", "linux/arm64", "--quiet").out == ""
    assert blobs(tmp_path / "one") < blobs(tmp_path / "all")
    [root] = parse_index((tmp_path / "one" / "index.json").read_bytes())
    assert root.digest is not None
    manifest = json.loads((tmp_path / "one" / "blobs" / "sha256" / root.digest.hex).read_bytes())
    config = json.loads((tmp_path / "one" / "blobs" / "sha256" / manifest["config"]["digest"][7:]).read_bytes())
    assert config["architecture"] == "arm64"


def test_a_tar_for_docker(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    line = ["extract", str(shelf.home / "split.tar.gz"), shelf.images[0], "-o", "my one.tar"]
    done = program(*line, "--format", "docker-archive", "--platform", "amd64")
    assert done.status == 0
    assert done.rows()["archive"][0].startswith(f"{tmp_path}/my one.tar, ")
    assert done.rows()["load"] == ["docker load -i 'my one.tar'"]
    with tarfile.open(tmp_path / "my one.tar") as tar:
        member = tar.extractfile("manifest.json")
        assert member is not None
        [listed] = json.load(member)
        assert listed["RepoTags"] == [shelf.images[0]]
        assert {listed["Config"], *listed["Layers"], "manifest.json"} == set(tar.getnames())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nginx"], "there is no image docker.io/library/nginx:latest in it; it has "),
        (["a b"], "'a b' is not"),
        (["ONE", "--platform", "linux/s390x"], "no linux/s390x in "),
        (["ONE", "--platform", "a/b/c/d"], "--platform: 'a/b/c/d' is not an architecture"),
        (["ONE", "--format", "docker-archive"], "ONE has linux/amd64, linux/arm64, and a docker-archive holds one"),
        (["ONE", "-o", "full"], "the destination full exists and is not empty: remove it, or choose another name (-o)"),
        (["ONE", "-o", "text"], "the destination text exists and is no directory: remove it, or choose another"),
    ],
)
def test_an_impossible_extract_is_an_error(
    shelf: Shelf, program: Program, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "text").touch()
    image, *rest = (word.replace("ONE", shelf.images[0]) for word in arguments)
    done = program("extract", str(shelf.home / "plain.tar.gz"), image, *([] if "-o" in rest else ["-o", "out"]), *rest)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"hangar-async: {said.replace('ONE', shelf.images[0])}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "text"]


def test_a_damaged_image_is_not_written(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    shelf.copy("plain.tar.gz", tmp_path)
    data = bytearray((tmp_path / "plain.tar.gz").read_bytes())
    data[150_000] ^= 1
    (tmp_path / "plain.tar.gz").write_bytes(data)
    for form in ("oci", "docker-archive"):
        done = program("extract", "plain.tar.gz", shelf.images[1], "-o", "out", "--format", form)
        assert (done.status, done.out) == (1, "")
        assert "is damaged" in done.err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["plain.tar.gz"]


@pytest.mark.parametrize("form", ["oci", "docker-archive"])
def test_a_signal_ends_it_and_nothing_is_left(tmp_path: Path, form: str) -> None:
    name = huge_cache(tmp_path / "cache")
    line = command("extract", "cache", name, "-o", "out", "--format", form)
    with subprocess.Popen(
        line, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            assert " start    4.0 GiB to be read and checked" in process.stderr.readline()
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate()
        finally:
            process.kill()
    assert (process.returncode, out) == (143, "")
    assert err == "hangar-async: terminated: nothing was written (once more ends at once)\n"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
