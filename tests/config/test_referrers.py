from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.config.options import SaveOptions
from hangar_async.config.referrers import checked_referrers
from hangar_async.config.target_options import LoadOptions, MirrorOptions
from hangar_async.errors import UsageError


def test_the_words_for_referrers() -> None:
    assert checked_referrers("all").types is None
    assert checked_referrers("none").types == frozenset()


@pytest.mark.parametrize("kind", ["save", "load", "mirror"])
def test_a_wrong_word_names_the_flag_before_any_work(kind: str) -> None:
    with pytest.raises(UsageError, match="--referrers: 'sbom' is no artifact type"):
        if kind == "save":
            SaveOptions(images=["a"], destination=Path("x"), referrers="sbom")
        elif kind == "load":
            LoadOptions(source=Path("x"), destination="r.example", referrers="sbom")
        else:
            MirrorOptions(images=["a"], destination="r.example", referrers="sbom")
