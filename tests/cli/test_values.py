from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hangar_async.cli.values import parse_duration, parse_size, report_target
from hangar_async.errors import InvalidValue, UsageError
from tests.refusal import attempt


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("2G", 2 << 30),
        ("2g", 2 << 30),
        ("10M", 10 << 20),
        ("3k", 3072),
        (" 5K ", 5120),
        ("2GB", 2 << 30),
        ("2 GiB", 2 << 30),
        ("4.5G", 9 << 29),
        ("1T", 1 << 40),
        ("700b", 700),
        ("0.5k", 512),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "0G", "0.0001K", "-1", "1.5", "1.5B", "2Gb/s", "2GI", "G", "1 000", "٣", "9" * 5000]
)
def test_a_text_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="is not a size"):
        parse_size(text)


@given(st.text("0123456789kKmMgG. -", max_size=8) | st.text(max_size=10))
def test_any_text_is_a_size_or_an_invalid_value(text: str) -> None:
    size = attempt(lambda: parse_size(text), InvalidValue)
    assert size is None or size > 0


@given(st.integers(1, 10**15 - 1), st.sampled_from(["", "K", "M", "G"]))
def test_a_size_is_its_number_of_units(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number << {"": 0, "K": 10, "M": 20, "G": 30}[unit]


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("1.5", 1.5), ("60s", 60), ("2M", 120), ("0.5h", 1800), (" 1h ", 3600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1d", "1 h", "1.2345", "inf", "nan", "1e3", "9" * 5000])
def test_a_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_duration(text)


def test_a_report_goes_to_a_path_or_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_target(None) is None
    assert report_target("sub/report.json") == Path("sub/report.json")
    target = report_target("-")
    assert callable(target)
    target("{}")
    assert capsys.readouterr().out == "{}\n"
    with pytest.raises(UsageError, match=r"names no file to write \(--report\)"):
        report_target("")
