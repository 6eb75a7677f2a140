"""The status of a verify follows from its problems."""

from __future__ import annotations

import pytest

from hangar_async.engine.outcomes import Verdict, VerifiedImage
from hangar_async.errors import ContentError
from hangar_async.oci import Image, Reference

IMAGE = Image(Reference.parse("reg.example.com/app:1"), None, ())


@pytest.mark.parametrize(("problems", "status"), [((), 0), (("a part is damaged",), 1)])
def test_the_status_of_a_verify_is_0_or_1(problems: tuple[str, ...], status: int) -> None:
    verdict = Verdict((VerifiedImage(IMAGE), VerifiedImage(IMAGE, ContentError("damaged"))), 1, 1, problems)
    assert verdict.status == status
    assert verdict.images == (IMAGE, IMAGE)
    assert [outcome.ok for outcome in verdict.outcomes] == [True, False]
    assert {outcome.name for outcome in verdict.outcomes} == {"reg.example.com/app:1"}


def test_what_an_image_took_makes_no_other_outcome() -> None:
    assert VerifiedImage(IMAGE, seconds=1.0, transferred=5, size=7) == VerifiedImage(IMAGE)
