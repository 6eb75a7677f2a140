"""Files of other runs beside a cache that becomes an output, and directories that are none of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.disk import Disk
from hangar_async.errors import UsageError
from hangar_async.store.directory import restore_aside
from hangar_async.store.publish import PublishDirectory
from tests.store.rig import NAMES


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.mark.parametrize("kind", ["directory", "link", "file"])
def test_what_is_no_part_of_a_cache_is_left_alone(filled_cache: Path, tmp_path: Path, kind: str) -> None:
    aside, other = tmp_path / ".saved-image-cache.aside", tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    if kind == "directory":
        other.rename(aside)
    elif kind == "link":
        aside.symlink_to("other")
    else:
        aside.write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(UsageError, match="is no part of the cache"):
        PublishDirectory(filled_cache, tmp_path / "out", NAMES, Disk()).run()
    assert tree(tmp_path) == before
    restore_aside(filled_cache, Disk())
    assert tree(tmp_path) == before
