from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

import hangar_async
from hangar_async import Verdict
from hangar_async.disk import Disk
from hangar_async.errors import StorageError
from hangar_async.layout.parse import parse_index
from hangar_async.oci.manifest import Manifest, parse_manifest
from tests.cli.conftest import Program
from tests.cli.programs import command, environment
from tests.cli.shelf import Shelf, huge_cache
from tests.engine.reporting.rig import checked

FORMS = ["plain.tar.gz", "plain.tar.zstd", "split.tar.gz", "split.tar.gz.part2", "foreign.tar.gz", "saved-image-cache"]


def base_layer(shelf: Shelf) -> str:
    """The digest, in hexadecimal, of the layer that both images share."""
    share = shelf.home / "saved-image-cache" / "share" / "sha256"
    root = parse_index((share.parents[1] / "index.json").read_bytes())[1].root
    assert root is not None
    manifest = parse_manifest((share / root.digest.hex).read_bytes())
    assert isinstance(manifest, Manifest)
    return manifest.layers[0].digest.hex


def damage(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", FORMS)
def test_a_whole_archive_is_ok(shelf: Shelf, program: Program, name: str) -> None:
    path = str(shelf.home / name)
    done = program("verify", path)
    assert done.status == 0
    *parts, line = done.out.splitlines()
    assert line.startswith(f"ok         {path}: 2 images, 3 platforms, ")
    said = "there is no SHA-256 of them; they were decoded to the end instead" if "foreign" in name else ""
    if name == "saved-image-cache":
        assert parts == []
    else:
        assert parts == [f"parts      {said or 'compared with their SHA-256'}"]
    assert done.err == "" if "foreign" in name else done.err.endswith(" to be read and checked\n")


def test_quiet_says_nothing_when_all_is_well(shelf: Shelf, program: Program) -> None:
    done = program("verify", "--quiet", str(shelf.home / "plain.tar.gz"))
    assert (done.status, done.out, done.err) == (0, "", "")


def test_the_bad_part_blob_and_images_are_named(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    shelf.copy("split.tar.gz.*", tmp_path)
    damage(tmp_path / "split.tar.gz.part1", 50_000)
    done = program("verify", "split.tar.gz", "--quiet")
    layer = base_layer(shelf)
    lines = done.out.splitlines()
    assert (done.status, done.err) == (1, "")
    assert lines[0] == ("wrong      split.tar.gz.part1 is damaged: its digest is not the one in split.tar.gz.sha256")
    assert f"{layer} is damaged: its bytes have the digest sha256:" in lines[1]
    assert lines[2:] == [f"wrong      {name}: needs the damaged blob sha256:{layer}" for name in shelf.images]
    loud = program("verify", "split.tar.gz.part3")
    assert loud.out.splitlines()[:-2] == lines
    assert loud.out.splitlines()[-1].startswith("checked    split.tar.gz.part3: 2 images, 3 platforms, ")
    assert loud.out.endswith(": 4 problems\n")


def test_json(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    path = str(shelf.home / "plain.tar.gz")
    done = program("verify", "--json", "--quiet", path)
    found = json.loads(done.out)
    assert (done.status, done.err) == (0, "")
    assert {**found, "files": 0, "size": 0} == {
        "path": path, "ok": True, "problems": [], "images": shelf.images, "files": 0, "size": 0,
        "checksum": "sha256",
    }  # fmt: skip
    assert found["size"] > 300_000

    shelf.copy("saved-image-cache", tmp_path)
    damage(tmp_path / "saved-image-cache" / "share" / "sha256" / base_layer(shelf), 7)
    done = program("verify", "saved-image-cache", "--json")
    found = json.loads(done.out)
    assert (done.status, found["ok"], len(found["problems"]), found["images"]) == (1, False, 3, shelf.images)


def test_a_missing_part_is_a_finding(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    shelf.copy("split.tar.gz.*", tmp_path)
    (tmp_path / "split.tar.gz.part2").unlink()
    done = program("verify", "split.tar.gz")
    assert (done.status, done.rows()["wrong"]) == (1, ["split.tar.gz.part2 is missing"])
    damage(tmp_path / "split.tar.gz.part1", 50_000)
    (tmp_path / "split.tar.gz.part3").unlink()
    wrong = [
        "split.tar.gz.part2 is missing",
        "split.tar.gz.part3 is missing",
        "split.tar.gz.part1 is damaged: its digest is not the one in split.tar.gz.sha256",
    ]
    done = program("verify", "split.tar.gz", "--json")
    assert (done.status, json.loads(done.out)["problems"]) == (1, wrong)
    listed = program("ls", "split.tar.gz")
    assert "split.tar.gz: split.tar.gz.part2 and split.tar.gz.part3 are missing; copy these parts here" in listed.err


def test_of_many_problems_a_screen_is_shown(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    async def verify(*_: object) -> Verdict:
        return Verdict((), 0, 0, tuple(f"problem {number}" for number in range(300)))

    monkeypatch.setattr(hangar_async, "verify", verify)
    rows = program("verify", "x").rows()["wrong"]
    assert (len(rows), rows[-1]) == (21, "and 280 more problems: --json has all")


def test_a_path_that_is_no_archive_is_an_error(program: Program, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive\n")
    done = program("verify", "text")
    assert (done.status, done.rows()["wrong"]) == (
        1,
        ["text is no archive: neither a tar, plain or compressed, nor a zip"],
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    huge_cache(tmp_path / "cache")
    line = command("verify", "cache")
    with subprocess.Popen(
        line, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().endswith(" start    4.0 GiB to be read and checked\n")
            process.send_signal(number)
            out, err = process.communicate()
        finally:
            process.kill()
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
    assert (process.returncode, out) == (128 + number, "")
    assert err == f"hangar-async: {word}: not all was checked (once more ends at once)\n"


def test_a_report_takes_standard_output_alone(shelf: Shelf, program: Program) -> None:
    path = str(shelf.home / "plain.tar.gz")
    done = program("verify", path, "--report", "-")
    document = checked(done.out)
    assert (done.status, document["command"], document["totals"]["done"]) == (0, "verify", 2)
    assert document["options"] == {"source": path}
    assert "ok         " in done.err
    quiet = program("verify", path, "--report=-", "--quiet")
    assert (quiet.err, checked(quiet.out)["totals"]["done"]) == ("", 2)
    both = program("verify", path, "--report", "-", "--json")
    assert (both.status, both.out) == (2, "")
    assert "--json and --report - would both write standard output" in both.err


def test_a_report_names_the_damaged_images(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    shelf.copy("split.tar.gz.*", tmp_path)
    damage(tmp_path / "split.tar.gz.part1", 50_000)
    done = program("verify", "split.tar.gz", "--report", "report.json")
    document = checked((tmp_path / "report.json").read_text())
    assert done.status == 1
    assert {one["status"] for one in document["images"]} == {"failed"}
    assert any("split.tar.gz.part1" in problem for problem in document["problems"])


def test_a_report_that_cannot_be_written_is_no_finding(
    shelf: Shelf, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(disk: Disk, source: Path, target: Path) -> None:
        raise StorageError(f"cannot write {target}: No space left on device", path=str(source))

    monkeypatch.setattr(Disk, "rename", fail)
    done = program("verify", str(shelf.home / "plain.tar.gz"), "--quiet", "--report", "report.json")
    assert (done.status, done.out) == (3, "")
    assert done.err.startswith("hangar-async: the report is not written: cannot write report.json: No space left on")
