from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from hangar_async.archive.names import encode_checksums
from hangar_async.cli.view.summary import after_compress, after_save, after_sync
from hangar_async.config.options import CompressOptions, SaveOptions
from hangar_async.config.output import OutputSettings
from hangar_async.effort import Effort
from hangar_async.engine.reports import ImageOutcome, Output, Report, Traffic
from hangar_async.errors import Conflict, DigestMismatch, NoPlatform, NotFound, UnsupportedManifest, UsageError
from hangar_async.imagelist import InvalidLine
from hangar_async.layout.files import EPOCH, LIST_NAME, cache_files
from tests.cli.samples import MIB, TRAFFIC, entry, failed, options, report, saved, sync_options

FAILED_LIST = Path("save-failed.txt")
GONE = failed("gone:1", NotFound("the registry has no gone:1", host="h", status=404, advice="check name and tag"), 4)


def shown(one: Report, asked: SaveOptions) -> dict[str, list[str]]:
    """The summary's texts by their labels."""
    found: dict[str, list[str]] = {}
    label = ""
    for name, text in after_save(one, asked):
        label = name or label
        assert text.isprintable()
        found.setdefault(label, []).append(text)
    return found


def output(*names: str, form: str = "gzip") -> Output:
    return Output(tuple(Path(name) for name in names), 5 * MIB, form, "" if form == "dir" else "isal 9.8")


def test_all_saved() -> None:
    one = report(saved("one:1"), saved("two:2", 2, platforms=1), output=output("saved-images.tar.gz"))
    assert list(after_save(one, options())) == [
        ("fetched", "12 blobs and manifests, 3.0 MiB"),
        ("reused", "2 blobs and manifests, 1.0 MiB, from the cache"),
        ("archive", f"{Path.cwd()}/saved-images.tar.gz, 5.0 MiB, gzip by isal 9.8"),
        ("check", "sha256sum -c saved-images.tar.gz.sha256"),
        ("unpack", "tar -xzf saved-images.tar.gz"),
        ("time", "1 min 15 s"),
        ("saved", "2 images, 3 platforms"),
    ]


def test_without_a_checksum_there_is_nothing_to_check_it_by() -> None:
    one = report(saved("one:1"), output=output("saved-images.tar.gz"))
    assert "check" not in shown(one, options(checksum="none"))
    asked = CompressOptions(cache=Path("c"), output=OutputSettings(target=Path("out.tar.gz"), checksum="none"))
    assert "check" not in dict(after_compress(one, asked))


def test_nothing_reused_is_not_told() -> None:
    one = report(saved("one:1"), output=output("saved-images.tar.gz"), traffic=Traffic(1, 100))
    assert "reused" not in shown(one, options())


def test_zstd_is_unpacked_otherwise() -> None:
    one = report(saved("one:1"), output=output("a b.tar.zstd", form="zstd"))
    asked = options(format="zstd", destination=Path("a b"))
    assert shown(one, asked)["unpack"] == ["tar --zstd -xf 'a b.tar.zstd'"]


def test_parts_are_joined_with_the_pattern_outside_of_the_quotes() -> None:
    names = [f"my images.tar.gz.part{number:02}" for number in range(12)]
    asked = options(destination=Path("my images.tar.gz"), part_size=512 * MIB)
    found = shown(report(saved("one:1"), output=output(*names)), asked)
    assert found["parts"] == ["12 parts of 512M: my images.tar.gz.part00 to my images.tar.gz.part11"]
    assert found["check"] == ["sha256sum -c 'my images.tar.gz.sha256'"]
    assert found["unpack"] == ["cat 'my images.tar.gz'.part* | tar -xz"]


def test_the_digests_are_checked_in_their_own_directory() -> None:
    asked = options(destination=Path("out dir/images"))
    found = shown(report(saved("one:1"), output=output("out dir/images.tar.gz")), asked)
    assert found["check"] == ["cd 'out dir' && sha256sum -c images.tar.gz.sha256"]


@pytest.mark.parametrize(
    ("seconds", "form", "text"),
    [
        (0.09, "gzip", "1 min 15 s"),
        (0.1, "gzip", "1 min 15 s; the archive was whole 0.1 s after the last image"),
        (65.0, "gzip", "1 min 15 s; the archive was whole 1 min 05 s after the last image"),
        (65.0, "dir", "1 min 15 s"),
    ],
)
def test_the_time_of_the_archive_after_the_last_image_is_shown(seconds: float, form: str, text: str) -> None:
    asked = options(format=form)
    one = replace(report(saved("one:1"), output=output(str(asked.output.target), form=form)), tail_seconds=seconds)
    assert shown(one, asked)["time"] == [text]


def test_one_part() -> None:
    asked = options(format="zstd", part_size=2 << 30)
    found = shown(report(saved("one:1"), output=output("saved-images.tar.zstd.part0", form="zstd")), asked)
    assert found["parts"] == ["1 part: saved-images.tar.zstd.part0"]
    assert found["unpack"] == ["cat saved-images.tar.zstd.part* | tar --zstd -x"]


@pytest.mark.parametrize("name", [b"na\xffme", b"new\nline  two", b"-x", b"it's", b"host:x", b"\\n"])
@pytest.mark.parametrize("is_split", [True, False])
def test_check_and_unpack_can_be_pasted(tmp_path: Path, name: bytes, is_split: bool) -> None:
    target = Path(os.fsdecode(name + b".tar.gz"))
    with tarfile.open(tmp_path / "made", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("content"))
    data = (tmp_path / "made").read_bytes()
    paths = [Path(f"{target}.part0"), Path(f"{target}.part1")] if is_split else [target]
    for path, piece in zip(paths, [data[:20], data[20:]] if is_split else [data], strict=True):
        (tmp_path / path).write_bytes(piece)
    digests = [hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() for path in paths]
    (tmp_path / f"{target}.sha256").write_bytes(encode_checksums(paths, digests))
    asked = options(destination=target, part_size=512 * MIB if is_split else None)
    found = shown(report(saved("one:1"), output=Output(tuple(paths), len(data), "gzip")), asked)
    for label in ("check", "unpack"):
        (line,) = found[label]
        subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "content").exists()


def test_a_directory_needs_no_unpacking() -> None:
    found = shown(report(saved("one:1"), output=output("saved-images", form="dir")), options(format="dir"))
    assert found["directory"] == [f"{Path.cwd()}/saved-images, 5.0 MiB"]
    assert found["unpack"] == ["nothing: it is ready for use"]


def test_failures_are_named_with_reason_and_advice() -> None:
    wrong = failed("bad:1", DigestMismatch("other bytes\x1b[2J came", advice="tell its operator"), 7)
    one = report(saved("one:1"), GONE, wrong, output=output("saved-images.tar.gz"), failed_list=FAILED_LIST)
    found = shown(one, options())
    assert found["saved"] == ["1 of 3 images, 2 platforms; 2 failed"]
    assert found["failed"] == [
        "line 4: gone:1: not found",
        "the registry has no gone:1; check name and tag",
        "line 7: bad:1: wrong digest",
        r"other bytes\x1b[2J came; tell its operator",
    ]


def test_three_hundred_failures_are_a_screen_and_the_sum_is_last() -> None:
    gone = [
        failed(f"gone:{line}", NotFound(f"no gone:{line}", host="h", status=404, advice="check it"), line)
        for line in range(300)
    ]
    others = [
        failed(f"bad:{line}", kind(f"bad {line}", advice="look"), line)
        for line in range(300, 310)
        for kind in (DigestMismatch, Conflict, NoPlatform, UsageError, UnsupportedManifest)
    ]
    noted = [saved(f"one:{line}", line, notes=(f"left out {line} entries",)) for line in range(40)]
    one = report(*gone, *others, *noted, output=output("saved-images.tar.gz"), failed_list=FAILED_LIST)
    rows = list(after_save(one, options()))
    assert len(rows) <= 40
    assert rows[-1] == ("saved", "40 of 390 images, 80 platforms; 350 failed")


def test_nothing_saved() -> None:
    found = shown(report(GONE, failed_list=FAILED_LIST), options())
    assert found["saved"] == ["0 of 1 image, 0 platforms; 1 failed"]
    assert found["output"] == ["nothing was saved; nothing was written"]


def test_lines_that_repeat_an_image() -> None:
    same = ImageOutcome(entry("docker.io/library/one:1@sha256:" + "0" * 64, 3), same_as=entry("one:1"))
    found = shown(report(saved("one:1"), same, duplicates=2, output=output("saved-images.tar.gz")), options())
    assert found["repeated"] == ["3 lines of the list named an image once more"]
    assert found["saved"] == ["1 image, 2 platforms"]


def test_an_archive_that_replaces_none_has_another_name() -> None:
    one = output("out/all.incomplete.tar.gz")
    kept = Output(one.files, one.size, one.format, kept=Path("out/all.tar.gz"))
    found = shown(report(saved("one:1"), GONE, output=kept), options(destination=Path("out/all.tar.gz")))
    assert found["kept"] == [
        "out/all.tar.gz holds more of these images than this run saved, and stays (--replace replaces it)"
    ]
    assert found["archive"][0].startswith(str(Path("out/all.incomplete.tar.gz").absolute()))
    assert found["check"] == ["cd out && sha256sum -c all.incomplete.tar.gz.sha256"]


def test_invalid_lines_and_notes() -> None:
    invalid = tuple(InvalidLine("images.txt", line, "'x y' has white\x07 space") for line in range(1, 26))
    one = report(
        saved("one:1", notes=("left out 2 entries of unknown platform",)),
        invalid=invalid,
        output=output("saved-images.tar.gz"),
    )
    found = shown(one, options())
    assert found["invalid"][0] == r"images.txt:1: 'x y' has white\x07 space"
    assert found["invalid"][3:] == ["and 22 more"]
    assert found["saved"] == ["1 image, 2 platforms; 25 lines invalid"]
    assert found["note"] == ["docker.io/library/one:1: left out 2 entries of unknown platform"]


def test_a_sync_tells_what_the_index_now_names(tmp_path: Path) -> None:
    names = [saved("one:1"), saved("two:2", 2, platforms=1), saved("older:1", 3)]
    files = cache_files([one.image for one in names if one.image], EPOCH)
    (tmp_path / LIST_NAME).write_bytes(files[LIST_NAME])
    one = report(*names[:2], output=Output((tmp_path,), 5 * MIB, "cache"))
    assert list(after_sync(one, sync_options(cache=tmp_path))) == [
        ("fetched", "12 blobs and manifests, 3.0 MiB"),
        ("reused", "2 blobs and manifests, 1.0 MiB, from the cache"),
        ("directory", str(tmp_path)),
        ("index", "names 3 images, 5 platforms"),
        ("time", "1 min 15 s"),
        ("synced", "2 images, 3 platforms"),
    ]


def test_a_sync_of_nothing() -> None:
    found = dict(after_sync(report(GONE, failed_list=FAILED_LIST), sync_options(cache=Path("c\x07"))))
    assert found["directory"] == r"nothing was saved; the index of c\x07 is as it was"
    assert found["failed"] == "line 4: gone:1: not found"


def test_a_compress() -> None:
    asked = CompressOptions(cache=Path("c"), output=OutputSettings(target=Path("out.tar.gz"), part_size=MIB))
    parts = output("out.tar.gz.part0", "out.tar.gz.part1")
    assert list(after_compress(report(saved("one:1"), GONE, output=parts), asked)) == [
        ("archive", f"{Path.cwd()}/out.tar.gz, 5.0 MiB, gzip by isal 9.8"),
        ("parts", "2 parts of 1M: out.tar.gz.part0 to out.tar.gz.part1"),
        ("check", "sha256sum -c out.tar.gz.sha256"),
        ("unpack", "cat out.tar.gz.part* | tar -xz"),
        ("time", "1 min 15 s"),
        ("failed", "image 4: gone:1: not found"),
        ("", "the registry has no gone:1; check name and tag"),
        ("packed", "1 of 2 images, 2 platforms; 1 failed"),
    ]


def test_a_compress_of_nothing() -> None:
    asked = CompressOptions(cache=Path("c"), output=OutputSettings(target=Path("out.tar.gz")))
    assert dict(after_compress(report(GONE), asked))["output"] == "no image of c is whole; nothing was written"


@pytest.mark.parametrize(
    ("images", "jobs", "traffic", "told"),
    [(6, 1, TRAFFIC, True), (5, 1, TRAFFIC, False), (6, 2, TRAFFIC, False), (6, 1, Traffic(reused_blobs=9), False)],
)
def test_many_images_one_at_a_time_are_told_of_jobs(images: int, jobs: int, traffic: Traffic, told: bool) -> None:
    outcomes = [saved(f"one:{number}", number) for number in range(images)]
    one = report(*outcomes, output=output("saved-images.tar.gz"), traffic=traffic)
    tip = ["the 6 images came one at a time: -j 8 would move 8 at once, and is faster"] if told else []
    assert shown(one, options(jobs=jobs)).get("tip", []) == tip


@pytest.mark.parametrize(("seconds", "told"), [(9.9, False), (10.0, True)])
def test_a_run_that_people_wait_for_is_explained(seconds: float, told: bool) -> None:
    one = replace(report(saved("one:1"), output=output("saved-images.tar.gz")), effort=Effort(most=6), seconds=seconds)
    assert ("why" in shown(one, options())) == told
