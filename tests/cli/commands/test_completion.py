from __future__ import annotations

import pytest

from tests.cli.conftest import Program


@pytest.mark.parametrize(
    ("shell", "end"),
    [("bash", "complete -o default -F _hangar_async hangar-async"), ("zsh", "hangar-async; fi"), ("fish", "'")],
)
def test_the_script_is_written(program: Program, shell: str, end: str) -> None:
    done = program("completion", shell)
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith(f"{end}\n")
