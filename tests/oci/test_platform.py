import pytest
from hypothesis import given, strategies as st

from hangar_async.errors import InvalidValue
from hangar_async.oci.platform import NO_PLATFORM, Platform, PlatformPattern, PlatformSelector
from tests.refusal import attempt

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


def test_all_architectures_are_wanted_where_one_of_the_patterns_takes_each() -> None:
    assert PlatformSelector.parse(["amd64", "all"], ["linux"]).all_architectures
    assert not PlatformSelector.parse(["amd64", "linux/arm64"]).all_architectures


def test_systems_filter_what_architectures_choose() -> None:
    selector = PlatformSelector.parse(["amd64"], ["windows"])
    assert WINDOWS in selector
    assert AMD64 not in selector
    assert AMD64 in PlatformSelector.parse(["amd64"], ["all"])
    assert str(PlatformSelector.parse(["amd64", "arm/v7"], ["linux"])) == "amd64, arm/v7 on linux"


@pytest.mark.parametrize("text", ["", "amd64/", "a/b/c/d", "lin ux/amd64", "linux/amd64/v1/x"])
def test_an_invalid_architecture_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="is not an architecture"):
        PlatformSelector.parse([text])


def test_nothing_wanted_is_an_error() -> None:
    with pytest.raises(InvalidValue, match="no architecture"):
        PlatformSelector.parse([])
    with pytest.raises(InvalidValue, match="not an operating system"):
        PlatformSelector.parse(["amd64"], ["lin/ux"])


@pytest.mark.parametrize("word", ["\x1b[31m", "a\nb", "\u202e", "\0", "\ud800", "a" * 201])
def test_an_invalid_word_of_a_platform_is_refused(word: str) -> None:
    for words in ((word, "a"), ("a", word), ("a", "b", word), ("a", "b", "", word)):
        with pytest.raises(InvalidValue, match="no word of a platform") as caught:
            Platform(*words)
        assert len(str(caught.value)) < 200


_word = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,8}", fullmatch=True)


@given(_word, _word, _word)
def test_a_pattern_of_three_words_matches_what_it_names(system: str, architecture: str, variant: str) -> None:
    text = f"{system}/{architecture}/{variant}"
    pattern = PlatformPattern.parse(text)
    assert pattern.matches(Platform(system, architecture, variant))
    assert not pattern.matches(Platform(f"{system}x", architecture, variant))
    assert Platform(system, architecture, variant) in PlatformSelector.parse([text], [system])


@given(st.lists(_word | st.sampled_from(["", "all", "ARM", "x86_64", "armhf", "v7", "linux"]), max_size=4).map("/".join)
       | st.text(max_size=20))  # fmt: skip
def test_any_text_is_a_pattern_that_reads_back_or_an_invalid_value(text: str) -> None:
    if pattern := attempt(lambda: PlatformPattern.parse(text), InvalidValue):
        assert PlatformPattern.parse(str(pattern)) == pattern


def test_a_long_word_is_told_in_short() -> None:
    for arguments in ((["a/" * 10_000],), (["amd64"], ["a/" * 10_000])):
        with pytest.raises(InvalidValue) as caught:
            PlatformSelector.parse(*arguments)
        assert len(str(caught.value)) < 400


def test_patterns_that_match_nothing_are_known() -> None:
    selector = PlatformSelector.parse(["amd64", "arm/v6", "riscv64"])
    found = selector.unmatched([Platform("linux", "amd64"), Platform("linux", "arm", "v7")])
    assert [str(pattern) for pattern in found] == ["arm/v6", "riscv64"]
    assert PlatformSelector.parse(["all"]).unmatched([Platform("linux", "s390x")]) == ()
