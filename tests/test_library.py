"""The programs of docs/library.md run, and print what the page says."""

import re
import sys
from pathlib import Path

import pytest

from hangar_async.testing.images import index
from tests.fakes.images import AMD64, ARM64, small
from tests.fakes.programs import run
from tests.fakes.registry import FakeRegistry

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "library.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)


def test_every_program_of_the_page_has_its_output() -> None:
    assert len(PROGRAMS) == PAGE.count("```python") >= 9


async def test_the_programs_print_what_the_page_says(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """One after the other in one directory: later ones read what the first has saved."""
    fake_registry.add("team/app:1", index([small("app"), small("app", platform=ARM64)]))
    fake_registry.add("team/tool:2.1", small("tool", platform=AMD64))
    hosts = {"source.example.com": fake_registry.address, "target.example.com": pushable_registry.address}
    for number, (program, expected) in enumerate(PROGRAMS):
        for name, address in hosts.items():
            program = program.replace(name, address)
        path = tmp_path / f"program{number}.py"
        path.write_text(program)
        command = f"cd {tmp_path} && exec {sys.executable} -W error {path.name}"
        output = await run("sh", "-c", command, env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)})
        for name, address in hosts.items():
            output = output.replace(address, name)
        assert output == expected, f"program {number}"


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_imports_public_names(number: int) -> None:
    program, _ = PROGRAMS[number]
    compile(program, "program", "exec")
    homes = set(re.findall(r"^from (hangar_async\S*) import", program, re.MULTILINE))
    registry = {f"hangar_async.{room}" for room in ("oci", "server.app", "testing.images", "testing.memory")}
    assert homes - registry == {"hangar_async"}
