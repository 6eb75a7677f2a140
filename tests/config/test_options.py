from pathlib import Path

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions
from hangar_async.errors import UsageError

NOTHING = Environment()


@pytest.mark.parametrize(("jobs", "permits"), [(-3, 1), (0, 1), (1, 1), (20, 20), (100, 20)])
def test_jobs_have_bounds(jobs: int, permits: int) -> None:
    assert SaveOptions(images=["a"], destination=Path("x"), jobs=jobs, environment=NOTHING).permits == permits


def test_options_that_cannot_be_right() -> None:
    with pytest.raises(UsageError, match="unknown format 'lzma'"):
        SaveOptions(images=["a"], destination=Path("x"), format="lzma", environment=NOTHING)
    with pytest.raises(UsageError, match="--part-size"):
        SaveOptions(images=["a"], destination=Path("x"), part_size=0, environment=NOTHING)
    with pytest.raises(UsageError, match="no parts"):
        SaveOptions(images=["a"], destination=Path("x"), part_size=1, format="dir", environment=NOTHING)
    with pytest.raises(UsageError, match="not a level of gzip: write 0 to 9"):
        SaveOptions(images=["a"], destination=Path("x"), level=10, environment=NOTHING)
    with pytest.raises(UsageError, match="is not compressed"):
        SaveOptions(images=["a"], destination=Path("x"), level=1, format="dir", environment=NOTHING)
    with pytest.raises(UsageError, match="not an architecture"):
        SaveOptions(images=["a"], destination=Path("x"), architectures=["amd64", "a/b/c/d"], environment=NOTHING)
    with pytest.raises(UsageError, match="not a registry"):
        SaveOptions(images=["a"], destination=Path("x"), source="https://reg", environment=NOTHING)
