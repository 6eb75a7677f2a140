"""The size of the house: small modules, few imports, short functions; `make house` prints the numbers."""

from collections import Counter

import pytest

from tests.house import ROOT as PACKAGE, Module, modules

MODULES = modules()


def test_the_package_has_at_most_32_000_lines_of_code() -> None:
    assert sum(module.code for module in MODULES) <= 32_000


def test_at_most_a_ninth_of_the_code_is_imports() -> None:
    assert sum(module.imports for module in MODULES) <= sum(module.code for module in MODULES) / 9


def test_a_module_has_at_least_85_lines_of_code_on_average() -> None:
    assert sum(module.code for module in MODULES) / len(MODULES) >= 85


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.path.stem)
def test_a_module_has_at_most_350_physical_lines(module: Module) -> None:
    assert module.physical <= 350


def test_a_folder_has_at_most_26_modules() -> None:
    assert max(Counter(module.path.parent for module in MODULES).values()) <= 26


def test_a_function_has_at_most_7_4_lines_on_average() -> None:
    lengths = [length for module in MODULES for length in module.functions]
    assert sum(lengths) / len(lengths) <= 7.4


TESTS = PACKAGE.parent / "tests"
#: Rooms of tests that run through several modules, and tests of the project as a whole.
ACROSS = {"environments", "fakes", "faults", "fuzz", "golden", "model", "real", "typing"}
WHOLE = {
    "test_deploy",
    "test_docs",
    "test_house",
    "test_library",
    "test_package",
    "cli/test_end_to_end",
    "cli/test_pages",
}


def test_each_module_has_its_test_module_and_there_is_no_other() -> None:
    package = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
    expected = {str(path.with_name(f"test_{path.stem}")) for path in package if not path.stem.startswith("__")}
    tests = {path.relative_to(TESTS).with_suffix("") for path in TESTS.rglob("test_*.py")}
    assert {str(path) for path in tests if path.parts[0] not in ACROSS} - WHOLE == expected


def test_fixtures_are_in_the_conftest_of_their_room() -> None:
    marks = "@pytest.fixture"
    files = {path for path in TESTS.rglob("*.py") if marks in path.read_text() and path.name != "test_house.py"}
    assert {path.name for path in files} == {"conftest.py"}
