"""The creation of what is missing at registries."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.config import creation
from hangar_async.config.creation import Creation, account_and_region
from hangar_async.config.target_options import LoadOptions, MirrorOptions
from hangar_async.errors import UsageError


@pytest.mark.parametrize(
    ("registry", "region"),
    [
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "eu-central-1"),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("123456789012.dkr-ecr.us-east-2.on.aws", "us-east-2"),
    ],
)
def test_the_names_of_registries_of_amazon(registry: str, region: str) -> None:
    assert account_and_region(registry) == ("123456789012", region)


@pytest.mark.parametrize("registry", ["public.ecr.aws", "12.dkr.ecr.eu-central-1.amazonaws.com", "a.io"])
def test_other_names(registry: str) -> None:
    with pytest.raises(UsageError, match="is no registry of Amazon ECR"):
        account_and_region(registry)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (" " * (129 << 10), "it has more than 131,072 bytes"),
        ("[]", "has no list of `rules`"),
        ('{"rules": 1}', "has no list of `rules`"),
        ("{", "is no lifecycle policy"),
    ],
)
def test_a_file_without_a_policy(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=why):
        Creation("ecr", lifecycle=path)
    with pytest.raises(UsageError, match=r"cannot read the lifecycle policy .*: No such file"):
        Creation("ecr", lifecycle=tmp_path / "none")


def test_an_ecr_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(creation, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'hangar_async\[ecr\]'"):
        Creation("ecr")
    assert Creation("harbor").https


def test_creation_is_of_each_registry_or_of_all() -> None:
    made = Creation("harbor", public=True)
    assert MirrorOptions(images=(), create={"a.io": made}).creation("a.io") == made
    assert MirrorOptions(images=(), create={"a.io": made}).creation("b.io") is None
    assert MirrorOptions(images=(), create=made).creation("b.io") == made
    older = LoadOptions(source=Path("x"), destination="a.io", harbor=True, harbor_https=False)
    assert older.creation("a.io") == Creation("harbor", https=False)
    assert LoadOptions(source=Path("x"), destination="a.io").creation("a.io") is None
