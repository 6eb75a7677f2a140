"""Outputs: their formats, levels, names and parts are checked when they are made."""

import re
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.output import FORMATS, LEVELS, OutputSettings, check_archive_format, check_level, output_path
from hangar_async.errors import UsageError


@pytest.mark.parametrize(
    ("name", "format_", "target"),
    [
        ("out", "gzip", "out.tar.gz"),
        ("out.tgz", "gzip", "out.tgz"),
        ("v1.2/out", "zstd", "v1.2/out.tar.zstd"),
        ("out", "dir", "out"),
        ("out.d", "dir", "out.d"),
        ("out", "lzma", "out"),
        (".hidden", "gzip", ".hidden"),
        ("/", "gzip", "/"),
        ("..", "gzip", ".."),
    ],
)
def test_a_name_without_a_dot_gets_the_ending_of_its_format(name: str, format_: str, target: str) -> None:
    assert output_path(Path(name), format_) == Path(target)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"format": "lzma"}, "unknown format 'lzma' (--compress): write gzip, zstd or dir"),
        ({"target": Path("/")}, "'/' names no file to write"),
        ({"level": 10}, "--compress-level 10 is not a level of gzip: write 0 to 9"),
        ({"level": -1}, "write 0 to 9"),
        ({"format": "zstd", "level": 0}, "write 1 to 19"),
        ({"format": "zstd", "level": 20}, "write 1 to 19"),
        ({"format": "dir", "level": 1}, "a directory is not compressed"),
        ({"part_size": 0}, "(--part-size) is not possible"),
        ({"part_size": -5}, "(--part-size) is not possible"),
        ({"format": "dir", "part_size": 5}, "a directory has no parts"),
        ({"checksum": "md5"}, "unknown checksum 'md5' (--checksum): write sha256 or none"),
        ({"format": "dir", "checksum": "none"}, "a directory has no file of checksums: leave out --checksum"),
    ],
)
def test_a_wrong_value_is_a_usage_error_that_says_what_is_right(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        OutputSettings(**{"target": Path("out.tar.gz"), **keywords})


@pytest.mark.parametrize("format_", FORMATS)
def test_every_level_of_a_format_is_taken(format_: str) -> None:
    lowest, highest = LEVELS.get(format_, (0, -1))
    for level in (None, *range(lowest, highest + 1)):
        assert OutputSettings(target=Path("x"), format=format_, level=level).level == level
        check_level(format_, level)


def test_a_directory_is_no_archive() -> None:
    for format_ in LEVELS:
        check_archive_format(format_)
    for format_ in ("dir", "lzma", ""):
        with pytest.raises(UsageError, match="write gzip or zstd"):
            check_archive_format(format_)


@pytest.mark.parametrize(
    ("name", "format_", "remark"),
    [
        ("x.tar.gz", "zstd", "x.tar.gz will be a zstd archive: its name is that of gzip (--compress, or another -d)"),
        ("x.TGZ", "dir", "x.TGZ will be a directory: its name is that of gzip (--compress, or another -d)"),
        ("x.tar.zst", "gzip", "x.tar.zst will be a gzip archive: its name is that of zstd (--compress, or another -d)"),
        ("x.tar.gz", "gzip", ""),
        ("x.tgz", "gzip", ""),
        ("x.tar.zstd", "zstd", ""),
        ("x.tar", "zstd", ""),
        ("v1.2", "dir", ""),
    ],
)
def test_a_name_of_another_format_is_remarked_on(name: str, format_: str, remark: str) -> None:
    assert OutputSettings(target=Path(name), format=format_).remark == remark
