"""Content that is made bit by bit."""

from pathlib import Path

import pytest

from hangar_async.archive.write import content
from hangar_async.archive.write.content import SpooledContent
from hangar_async.disk import Disk
from hangar_async.oci import Digest
from tests.archive.samples import visible, write


def _read(spooled: SpooledContent) -> bytes:
    with spooled.opened() as source:
        data = bytearray(source.size)
        source.read_into([memoryview(data)])
    return bytes(data)


@pytest.mark.parametrize("most", [1 << 20, 10, 0])
def test_it_reads_as_it_was_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(content, "MOST_IN_MEMORY", most)
    spooled = SpooledContent(Disk(), lambda: tmp_path / "spool", [b"abc", b"", b"d" * 20])
    assert (tmp_path / "spool").exists() == (most <= 10)
    assert _read(spooled) == b"abc" + b"d" * 20
    spooled.append(b"e")
    assert _read(spooled) == b"abc" + b"d" * 20 + b"e"
    assert spooled.digest == Digest.of(b"abc" + b"d" * 20 + b"e")
    spooled.close()


def test_an_archive_with_a_spooled_index_has_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a", "gzip")
    monkeypatch.setattr(content, "MOST_IN_MEMORY", 10)
    write(tmp_path / "b", "gzip")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert visible(tmp_path) == ["a", "a.sha256", "b", "b.sha256"]
