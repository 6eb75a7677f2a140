from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from hangar_async.errors import InvalidValue
from hangar_async.tags.version import Version, VersionRange, is_referrer


def read(tag: str) -> tuple[str, str, str] | None:
    version = Version.of(tag)
    if version is None:
        return None
    numbers = ".".join(map(str, version.numbers)) + ("+" if version.has_build else "")
    return numbers, version.prerelease, version.variant


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("1.27.3", ("1.27.3", "", "")),
        ("v2.53.1", ("2.53.1", "", "")),
        ("16", ("16", "", "")),
        ("24.04", ("24.4", "", "")),
        ("1.27.3-alpine3.20", ("1.27.3", "", "alpine3.20")),
        ("v1.30.1-k3s1", ("1.30.1", "", "k3s1")),
        ("12.4.1-devel-ubuntu22.04", ("12.4.1", "", "devel-ubuntu22.04")),
        ("21.0.4_7-jdk-alpine", ("21.0.4+", "", "jdk-alpine")),
        ("8u422-b05-jre", ("8.422+", "", "jre")),
        ("8u422-jre", ("8.422", "", "jre")),
        ("1.27.0-rc.1", ("1.27.0", "rc.1", "")),
        ("1.23rc1-alpine3.19", ("1.23", "rc1", "alpine3.19")),
        ("16beta2", ("16", "beta2", "")),
        ("3.14.0a1-slim", ("3.14.0", "a1", "slim")),
        ("3.19_rc1", ("3.19", "rc1", "")),
        ("v1.25.3-alpha1-k3s1", ("1.25.3", "alpha1", "k3s1")),
        ("9.0-preview.7", ("9.0", "preview.7", "")),
        ("1.0-SNAPSHOT", ("1.0", "SNAPSHOT", "")),
        ("1.27-nightly-20240501", ("1.27", "nightly-20240501", "")),
        ("1.2.3b", ("1.2.3", "", "b")),
        ("2024.5.1", ("2024.5.1", "", "")),
        ("latest", None),
        ("jammy-20240627", None),
        ("2024-05-01", None),
        ("20240501", None),
        ("20240501123456-amd64", None),
        ("4f2a9c1", None),
        ("4f2a9c1-alpine", None),
        ("1234567", None),
    ],
)
def test_the_version_of_a_tag(tag: str, expected: tuple[str, str, str] | None) -> None:
    assert read(tag) == expected


def test_versions_in_their_order() -> None:
    order = [
        "1.9.9",
        "1.10.0-dev",
        "1.10.0-alpha2",
        "1.10.0-beta1",
        "1.10.0-beta10",
        "1.10.0-preview1",
        "1.10.0rc1",
        "1.10",
        "1.10.0_3",
        "1.10.0_12",
        "1.10.1",
        "v2",
    ]
    versions = [Version.of(tag) for tag in order]
    keys = [version.key for version in versions if version]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(order)


def test_zeros_at_the_end_are_no_difference() -> None:
    one, other = Version.of("1.27"), Version.of("v1.27.0")
    assert one is not None
    assert other is not None
    assert one.key == other.key


@given(st.from_regex(r"[a-zA-Z0-9_][\w.-]{0,127}", fullmatch=True))
def test_any_tag_is_read(tag: str) -> None:
    version = Version.of(tag)
    assert version is None or tag.startswith(str(version))


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (">=1.25 <4", "1.25 1.25.0 1.26 1.26.9 3.99 1.100"),
        (">=1.25, <= 1.26", "1.25 1.25.0 1.26 1.26.9"),
        ("1.26", "1.26 1.26.9"),
        ("=v4", "4 4.0.1 4-rc1"),
        (">1.25", "1.26 1.26.9 3.99 1.100 4 4.0.1 4-rc1"),
    ],
)
def test_a_range_compares_as_many_numbers_as_it_has(text: str, held: str) -> None:
    tags = "1 1.24.9 1.25 1.25.0 1.26 1.26.9 3.99 1.100 4 4.0.1 4-rc1"
    versions = {tag: version for tag in tags.split() if (version := Version.of(tag))}
    range_ = VersionRange.parse(text)
    assert [tag for tag, version in versions.items() if range_.holds(version)] == held.split()


@pytest.mark.parametrize("text", ["", " ", "newest", ">=", ">= x", "^1.2", "1.2.x", ">=1 ||"])
def test_a_wrong_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"'>=1\.25 <4'"):
        VersionRange.parse(text)


@pytest.mark.parametrize("end", ["", ".sig", ".att", ".sbom"])
def test_tags_of_referrers(end: str) -> None:
    assert is_referrer(f"sha256-{'a' * 64}{end}")


@pytest.mark.parametrize("tag", ["sha256-abc", f"sha256-{'a' * 64}-alpine", "sha-4f2a9c1", "latest"])
def test_other_tags_are_no_referrers(tag: str) -> None:
    assert not is_referrer(tag)
