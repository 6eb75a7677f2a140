import pytest

from hangar_async.errors import InvalidValue
from hangar_async.oci.platform import NO_PLATFORM, Platform, PlatformPattern, PlatformSelector

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64", "v8")
ARMV7 = Platform("linux", "arm", "v7")
WINDOWS = Platform("windows", "amd64", "", "10.0.17763.1879")


@pytest.mark.parametrize(
    ("platform", "suffix"),
    [
        (AMD64, "amd64"),
        (Platform("linux", "amd64", "v3"), "amd64"),
        (ARM64, "arm64"),
        (ARMV7, "armv7"),
        (Platform("linux", "s390x"), "s390x"),
        (WINDOWS, "windows-amd64-10.0.17763.1879"),
        (Platform("darwin", "arm64", "v8"), "darwin-arm64v8"),
        (Platform("linux", "amd64", "", "5"), "amd64-5"),
        (NO_PLATFORM, "unknown"),
    ],
)
def test_suffixes_are_hangars(platform: Platform, suffix: str) -> None:
    assert platform.suffix == suffix


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("amd64", [AMD64, WINDOWS]),
        ("x86_64", [AMD64, WINDOWS]),
        ("arm64", [ARM64]),
        ("arm64/v8", [ARM64, Platform("linux", "arm64")]),
        ("arm", [ARMV7, Platform("linux", "arm", "v6")]),
        ("arm/v7", [ARMV7, Platform("linux", "arm")]),
        ("linux/arm64", [ARM64]),
        ("linux/arm/v7", [ARMV7]),
        ("windows/amd64", [WINDOWS]),
        ("all", [AMD64, ARM64, ARMV7, WINDOWS]),
        ("s390x", []),
    ],
)
def test_patterns(text: str, chosen: list[Platform]) -> None:
    everything = [AMD64, ARM64, ARMV7, WINDOWS, *chosen]
    pattern = PlatformPattern.parse(text)
    assert [platform for platform in everything if pattern.matches(platform)] != [] or not chosen
    assert {platform for platform in everything if pattern.matches(platform)} == set(chosen)


def test_systems_filter_what_architectures_choose() -> None:
    selector = PlatformSelector.parse(["amd64"], ["windows"])
    assert WINDOWS in selector
    assert AMD64 not in selector
    assert AMD64 in PlatformSelector.parse(["amd64"], ["all"])
    assert str(PlatformSelector.parse(["amd64", "arm/v7"], ["linux"])) == "amd64, arm/v7 on linux"


@pytest.mark.parametrize("text", ["", "amd64/", "a/b/c/d", "lin ux/amd64", "linux/amd64/v1/x"])
def test_what_is_no_architecture(text: str) -> None:
    with pytest.raises(InvalidValue, match="is not an architecture"):
        PlatformSelector.parse([text])


def test_nothing_wanted_is_an_error() -> None:
    with pytest.raises(InvalidValue, match="no architecture"):
        PlatformSelector.parse([])
    with pytest.raises(InvalidValue, match="not an operating system"):
        PlatformSelector.parse(["amd64"], ["lin/ux"])
