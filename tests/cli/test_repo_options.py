"""The flags of what is made at a registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.cli.repo_options import creation
from hangar_async.config.creation import Creation
from hangar_async.errors import UsageError
from tests.fakes.ecr import POLICY


def test_the_kinds(tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(POLICY)
    assert creation(None, harbor=(True, False), ecr=(False, None)) is None
    assert creation("harbor", harbor=(False, True), ecr=(False, None)) == Creation("harbor", False, True)
    made = creation("ecr", harbor=(True, False), ecr=(True, str(policy)))
    assert made == Creation("ecr", immutable_tags=True, lifecycle=policy)


@pytest.mark.parametrize(
    ("kind", "ecr", "message"),
    [
        ("acr", (False, None), r"unknown type 'acr' \(--repo-type\): write harbor or ecr"),
        ("harbor", (True, None), "--ecr-immutable-tags is for repositories of ECR: write --repo-type ecr too"),
        (None, (False, "x"), "--ecr-lifecycle is for repositories of ECR"),
        ("ecr", (False, "/nowhere/x"), "/nowhere/x"),
    ],
)
def test_flags_that_cannot_be(kind: str | None, ecr: tuple[bool, str | None], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        creation(kind, harbor=(True, False), ecr=ecr)
