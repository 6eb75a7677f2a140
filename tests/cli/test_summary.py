from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.cli.summary import next_steps, rows
from hangar_async.config import Environment, RegistrySettings, SaveOptions
from hangar_async.engine.report import ImageOutcome, Output, Report, Traffic
from hangar_async.errors import DigestMismatch, NotFound
from hangar_async.imagelist import InvalidLine
from tests.cli.samples import MIB, entry, failed, options, report, saved

FAILED_LIST = Path("save-failed.txt")
GONE = failed("gone:1", NotFound("the registry has no gone:1", host="h", status=404, advice="check name and tag"), 4)


def shown(one: Report, asked: SaveOptions) -> dict[str, list[str]]:
    """The summary's texts by their labels."""
    found: dict[str, list[str]] = {}
    label = ""
    for name, text in rows(one, asked):
        label = name or label
        assert text.isprintable()
        found.setdefault(label, []).append(text)
    return found


def output(*names: str, form: str = "gzip") -> Output:
    return Output(tuple(Path(name) for name in names), 5 * MIB, form)


def test_all_saved() -> None:
    one = report(saved("one:1"), saved("two:2", 2, platforms=1), output=output("saved-images.tar.gz"))
    assert list(rows(one, options())) == [
        ("saved", "2 images, 3 platforms"),
        ("fetched", "12 blobs and manifests, 3.0 MiB"),
        ("reused", "2 blobs and manifests, 1.0 MiB, from the cache"),
        ("archive", f"{Path.cwd()}/saved-images.tar.gz, 5.0 MiB, gzip"),
        ("unpack", "tar -xzf saved-images.tar.gz"),
        ("time", "1 min 15 s"),
    ]


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
    assert found["unpack"] == ["cat 'my images.tar.gz'.part* | tar -xz"]


def test_one_part() -> None:
    asked = options(format="zstd", part_size=2 << 30)
    found = shown(report(saved("one:1"), output=output("saved-images.tar.zstd.part0", form="zstd")), asked)
    assert found["parts"] == ["1 part: saved-images.tar.zstd.part0"]
    assert found["unpack"] == ["cat saved-images.tar.zstd.part* | tar --zstd -x"]


def test_a_directory_needs_no_unpacking() -> None:
    found = shown(report(saved("one:1"), output=output("saved-images", form="dir")), options(format="dir"))
    assert found["directory"] == [f"{Path.cwd()}/saved-images, 5.0 MiB"]
    assert found["unpack"] == ["nothing: it is ready for use"]


def test_failures_are_named_with_reason_and_advice() -> None:
    wrong = failed("bad:1", DigestMismatch("other bytes\x1b[2J came", advice="tell its operator"), 7)
    one = report(saved("one:1"), GONE, wrong, output=output("saved-images.tar.gz"), failed_list=FAILED_LIST)
    found = shown(one, options())
    assert found["saved"] == ["1 of 3 images, 2 platforms"]
    assert found["failed"] == [
        "line 4: gone:1: not found",
        "the registry has no gone:1; check name and tag",
        "line 7: bad:1: wrong digest",
        r"other bytes\x1b[2J came; tell its operator",
    ]
    assert found["next"] == [
        "the failed lines are in save-failed.txt; to save these alone:",
        "hangar-async save -f save-failed.txt -d saved-images-again.tar.gz",
        "or run the same command again for the whole archive: what is in the cache is not fetched again",
    ]


def test_nothing_saved() -> None:
    found = shown(report(GONE, failed_list=FAILED_LIST), options())
    assert found["saved"] == ["0 of 1 image, 0 platforms"]
    assert found["output"] == ["nothing was saved; nothing was written"]
    assert found["next"][1:] == ["hangar-async save -f save-failed.txt"]


def test_the_command_to_go_on_has_the_same_flags() -> None:
    asked = options(
        architectures=("amd64", "arm/v7"),
        systems=("linux",),
        format="zstd",
        destination=Path("out dir/images"),
        failed=Path("bad list.txt"),
        jobs=100,
        part_size=3 << 20,
        source="mirror.example.com:5000",
        include_foreign=True,
        environment=Environment(registries=RegistrySettings(tls_verify=False)),
    )
    one = report(saved("one:1"), GONE, output=output("out dir/images.tar.zstd", form="zstd"), failed_list=asked.failed)
    assert shown(one, asked)["next"][1] == (
        "hangar-async save -f 'bad list.txt' -d 'out dir/images-again.tar.zstd' -a amd64,arm/v7 --os linux -c zstd "
        "-o 'bad list.txt' -j 20 --part --part-size 3M -s mirror.example.com:5000 --include-foreign --tls-verify=false"
    )


@pytest.mark.parametrize(
    ("destination", "form", "beside"),
    [("my.tgz", "gzip", "my.tgz-again"), ("x.tar.gz", "zstd", "x.tar.gz-again"), ("d/all", "dir", "d/all-again")],
)
def test_the_output_that_was_written_is_left_alone(destination: str, form: str, beside: str) -> None:
    asked = options(destination=Path(destination), format=form)
    one = report(saved("one:1"), GONE, output=output(destination, form=form), failed_list=FAILED_LIST)
    assert f"-d {beside}" in shown(one, asked)["next"][1]


def test_a_directory_cannot_be_made_twice() -> None:
    one = report(saved("one:1"), GONE, output=output("saved-images", form="dir"), failed_list=FAILED_LIST)
    assert len(list(next_steps(one, options(format="dir")))) == 2


def test_next_steps_are_for_failures() -> None:
    assert list(next_steps(report(saved("one:1"), output=output("a")), options())) == []


def test_lines_that_repeat_an_image() -> None:
    same = ImageOutcome(entry("docker.io/library/one:1@sha256:" + "0" * 64, 3), same_as=entry("one:1"))
    found = shown(report(saved("one:1"), same, duplicates=2, output=output("saved-images.tar.gz")), options())
    assert found["saved"] == ["1 image, 2 platforms", "3 lines of the list named an image once more"]


def test_invalid_lines_and_notes() -> None:
    invalid = tuple(InvalidLine("images.txt", line, "'x y' has white\x07 space") for line in range(1, 26))
    one = report(
        saved("one:1", notes=("left out 2 entries of unknown platform",)),
        invalid=invalid,
        output=output("saved-images.tar.gz"),
    )
    found = shown(one, options())
    assert found["invalid"][0] == r"images.txt:1: 'x y' has white\x07 space"
    assert found["invalid"][20:] == ["and 5 more"]
    assert found["note"] == ["docker.io/library/one:1: left out 2 entries of unknown platform"]
