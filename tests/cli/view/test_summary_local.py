from __future__ import annotations

from pathlib import Path

from hangar_async.cli.view.summary_local import after_convert, after_extract, index_rows
from hangar_async.config.options import ExtractOptions
from hangar_async.engine.reports import Conversion, Output
from hangar_async.imagelist import InvalidLine


def test_a_directory_without_index_has_no_line_of_it(tmp_path: Path) -> None:
    assert list(index_rows(tmp_path)) == []


def test_an_extract_says_how_its_tar_is_loaded(tmp_path: Path) -> None:
    asked = ExtractOptions(source=Path("x"), image="one:1", destination=Path("one.tar"))
    assert list(after_extract(Output((Path("one.tar"),), 1 << 20, "docker-archive"), asked))[1:] == [
        ("archive", f"{Path.cwd()}/one.tar, 1.0 MiB"),
        ("load", "docker load -i one.tar"),
    ]


def test_a_conversion_ends_with_its_sum() -> None:
    invalid = tuple(InvalidLine("l", line, "no image") for line in range(9))
    rows = list(after_convert(Conversion(Path("out"), 3, 1, invalid), None))
    assert [label for label, _ in rows] == ["kept", "list", "invalid", "invalid", "invalid", "invalid", "converted"]
    assert rows[-1] == ("converted", "3 lines; 9 lines invalid")
