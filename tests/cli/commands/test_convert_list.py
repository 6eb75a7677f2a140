"""`convert-list` as a person runs it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Program
from tests.cli.site import Done


def test_a_list_is_converted(program: Program, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# Rancher\nrancher/rancher:v2.7.0\na b c\n")
    done = program("convert-list", "-i", "list.txt", "-d", "reg.lan/mirror")
    assert done == Done(
        0,
        "kept       1 line that had the form SOURCE DEST TAG\nlist       list.txt.converted\nconverted  1 line\n",
        "",
    )
    assert (tmp_path / "list.txt.converted").read_text() == (
        "# Rancher\nrancher/rancher reg.lan/mirror/rancher/rancher v2.7.0\na b c\n"
    )


def test_standard_input_and_an_invalid_line(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"nginx\nA\n")))
    done = program("convert-list", "-i", "-", "-o", "out.txt", "-s", "in.lan", "--quiet")
    assert (done.status, done.out) == (1, "")
    [line] = done.err.splitlines()
    assert "standard input:2: 'A' has upper-case letters" in line
    assert (tmp_path / "out.txt").read_text().splitlines()[0] == "in.lan/library/nginx docker.io/nginx latest"
