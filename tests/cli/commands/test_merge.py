from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Program
from tests.engine.made import make_layout
from tests.fakes.images import small
from tests.layout.rig import REF


def test_sources_become_one_archive(program: Program, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_layout(tmp_path / name, [(small(name), {REF: f"{name}:1"}), (small("both"), {REF: "both:1"})])
    done = program("merge", "a", "b", "-d", "out.tar.gz")
    assert (done.status, done.rows()["packed"]) == (0, ["3 images, 3 platforms"])
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out"))) == [
        "out.tar.gz",
        "out.tar.gz.sha256",
    ]
    listed = program("ls", "out.tar.gz")
    assert "docker.io/library/both:1" in listed.out
    make_layout(tmp_path / "c", [(small("c"), {REF: "a:1"})])
    refused = program("merge", "a", "c", "-d", "out.tar.gz")
    assert refused.status == 2
    assert "choose one with --prefer" in refused.err
    chosen = program("merge", "a", "c", "--prefer", "last")
    assert chosen.status == 0
    assert "the last one is taken" in chosen.err
