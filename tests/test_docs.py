"""The documents say what is."""

import re
from pathlib import Path

import pytest

from hangar_async import errors
from hangar_async.errors import HangarError
from tests.faults.rows_registry import REGISTRY_ROWS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(("page", "least"), [("docs/reliability.md", 35), ("SECURITY.md", 20)])
def test_every_row_has_the_tests_that_it_names(page: str, least: int) -> None:
    rows = re.findall(r"([\w/]+/test_\w+) ((?:`test_\w+`(?:, )?)+)", (ROOT / page).read_text())
    assert len(rows) > least
    for file, names in rows:
        text = (ROOT / "tests" / f"{file}.py").read_text()
        for name in re.findall(r"`(\w+)`", names):
            assert f"def {name}(" in text, f"{file} has no {name}"


def test_every_row_of_the_registrys_faults_is_on_the_page() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    found = re.findall(r"^\| (.*) \| (.*) \| .+ \| faults/test_registry `([\w-]+)` \|$", page, re.MULTILINE)
    assert found == [(row.fault, row.then, row.name) for row in REGISTRY_ROWS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_rooms_are_those_of_the_architecture_page() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / "hangar_async"
    rooms = {path.name for path in package.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    modules = {path.name for path in package.glob("[a-z]*.py")}
    for room in rooms:
        assert f"`{room}/`" in text
    for module in modules:
        assert f"`{module}`" in text


def test_every_reason_of_a_failure_has_its_row() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    reasons = {
        kind.reason for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HangarError)
    }
    assert set(re.findall(r"^\| ([a-z ]+) \| ", page, re.MULTILINE)) - {"reason", "message"} == reasons - {"failed"}


def test_the_messages_of_the_page_are_those_of_the_program() -> None:
    """A part of each message stands in the code as it is, but for what is filled in."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text().partition("## By message")[2]
    code = "".join(path.read_text() for path in (ROOT / "hangar_async").rglob("*.py"))
    code = re.sub(r"\"\n\s+f?\"", "", code)
    for message in re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE):
        for text in re.findall(r"`([^`]+)`", message):
            part = max(re.split(r"N |sha256:\.\.\.", text), key=len).strip()
            assert part in code, part


def test_every_variable_that_is_read_is_on_its_page() -> None:
    page = (ROOT / "docs" / "environment.md").read_text()
    code = (ROOT / "hangar_async" / "config" / "environment.py").read_text()
    for name in set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', code)):
        assert f"`{name}`" in page, name
