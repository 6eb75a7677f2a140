from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hangar_async.cli.view.next_steps import after_compress, after_load, after_save, after_sync
from hangar_async.config.environment import Environment
from hangar_async.config.options import CompressOptions
from hangar_async.config.output import OutputSettings
from hangar_async.config.registries import RegistrySettings
from hangar_async.config.target_options import LoadOptions
from hangar_async.engine.reports import LoadReport, Output, Sent
from hangar_async.errors import NotFound
from tests.cli.samples import MIB, failed, options, report, saved, sync_options

FAILED_LIST = Path("save-failed.txt")
GONE = failed("gone:1", NotFound("the registry has no gone:1", host="h", status=404), 4)


def output(name: str, form: str = "gzip") -> Output:
    return Output((Path(name),), 5 * MIB, form)


def test_an_archive_is_made_anew() -> None:
    one = report(saved("one:1"), GONE, output=output("saved-images.tar.gz"), failed_list=FAILED_LIST)
    assert list(after_save(one, options())) == [
        ("next", "the failed lines are in save-failed.txt; to fetch these images, and make an archive of all:"),
        ("", "hangar-async sync -f save-failed.txt"),
        ("", "hangar-async compress"),
    ]


def test_the_commands_have_the_same_flags() -> None:
    asked = options(
        architectures=("amd64", "arm/v7"),
        systems=("linux",),
        format="zstd",
        destination=Path("out dir/images"),
        failed=Path("bad list.txt"),
        jobs=100,
        part_size=3 << 20,
        level=7,
        checksum="none",
        source="mirror.example.com:5000",
        include_foreign=True,
        cache=Path("my cache"),
        environment=Environment(registries=RegistrySettings(tls_verify=False)),
    )
    network = "-a amd64,arm/v7 --os linux -j 20 -s mirror.example.com:5000 --include-foreign --tls-verify=false"
    archive = "--part --part-size 3M --compress-level 7 --checksum none"
    one = report(saved("one:1"), GONE, output=output("out dir/images.tar.zstd", "zstd"), failed_list=asked.failed)
    assert [text for _, text in after_save(one, asked)][1:] == [
        f"hangar-async sync -f 'bad list.txt' -d 'my cache' {network}",
        f"hangar-async compress -f 'my cache' -d 'out dir/images' --format zstd {archive}",
    ]
    assert [text for _, text in after_save(report(GONE, failed_list=asked.failed), asked)][1:] == [
        f"hangar-async save -f 'bad list.txt' -d 'out dir/images' -c zstd {network} {archive}",
    ]


def test_images_are_added_to_a_directory() -> None:
    one = report(saved("one:1"), GONE, output=output("all", "dir"), failed_list=FAILED_LIST)
    assert [text for _, text in after_save(one, options(format="dir", destination=Path("all")))] == [
        "the failed lines are in save-failed.txt; to add these images to the directory:",
        "hangar-async sync -f save-failed.txt -d all",
    ]


def test_without_a_saved_image_the_step_is_another_save() -> None:
    one = report(GONE, failed_list=FAILED_LIST)
    assert [text for _, text in after_save(one, options(destination=Path("x.tgz")))] == [
        "the failed lines are in save-failed.txt; to try these again:",
        "hangar-async save -f save-failed.txt -o save-failed-2.txt -d x.tgz",
    ]


@pytest.mark.parametrize(("cache", "flag"), [("saved-image-cache", ""), ("other", " -d other")])
def test_after_a_sync(cache: str, flag: str) -> None:
    one = report(saved("one:1"), GONE, output=output(cache, "cache"), failed_list=Path("sync-failed.txt"))
    assert [text for _, text in after_sync(one, sync_options(cache=Path(cache)))] == [
        "the failed lines are in sync-failed.txt; to try these again:",
        f"hangar-async sync -f sync-failed.txt -o sync-failed-2.txt{flag}",
    ]


def test_after_a_compress() -> None:
    asked = CompressOptions(cache=Path("other"), output=OutputSettings(target=Path("out.tar.gz")))
    assert [text for _, text in after_compress(report(saved("one:1"), GONE), asked)] == [
        "bring the failed images into other again, then run the same command again:",
        "hangar-async sync -f LIST -d other",
    ]


def test_next_steps_are_for_failures() -> None:
    fine = report(saved("one:1"), output=output("a"))
    assert list(after_save(fine, options())) == list(after_sync(fine, sync_options())) == []
    asked = CompressOptions(cache=Path("c"), output=OutputSettings(target=Path("out.tar.gz")))
    assert list(after_compress(fine, asked)) == []


def test_without_a_list_of_what_failed_there_is_nothing_to_go_on_with() -> None:
    one = report(saved("one:1"), GONE, output=output("a"))
    assert list(after_save(one, options(failed=None))) == []


def test_a_load_by_a_template_goes_on_by_it() -> None:
    asked = LoadOptions(source=Path("x.tar.gz"), template="reg.lan/{registry}/{name}")
    one = LoadReport(asked.source, asked.target, (), Sent(), 1.0, failed_list=Path("bad.txt"))
    assert [text for _, text in after_load(one, asked)][1:] == [
        "hangar-async load -s x.tar.gz --to 'reg.lan/{registry}/{name}' -f bad.txt"
    ]


def test_a_load_goes_on_as_it_was_asked_to() -> None:
    """It overwrites no tag that it was not to overwrite; a name that was given is in no source."""
    flags: dict[str, Any] = {"platform_tags": True, "on_existing_tag": "error", "referrers": "none"}
    asked = LoadOptions(source=Path("x.tar"), destination="reg.lan", **flags)
    one = LoadReport(asked.source, asked.target, (), Sent(), 1.0, failed_list=Path("bad.txt"))
    words = "hangar-async load -s x.tar -d reg.lan {} --platform-tags --on-existing-tag error --referrers none"
    assert [text for _, text in after_load(one, asked)][1:] == [words.format("-f bad.txt")]
    asked = replace(asked, name="app:1", images=["sha256:*"])
    assert [text for _, text in after_load(one, asked)][1:] == [words.format("--image 'sha256:*' --name app:1")]
