from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from hangar_async.cli.completion import SHELLS, script
from hangar_async.cli.main import COMMANDS, make_app


def made(shell: str) -> str:
    program: Any = typer.main.get_command(make_app())
    return script(shell, "hangar-async", program.commands)


def completed(*words: str) -> list[str]:
    """The words that bash proposes for the last of these words."""
    line = " ".join(f"'{word}'" for word in ("hangar-async", *words))
    ask = f"COMP_WORDS=({line}); COMP_CWORD={len(words)}; _hangar_async; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", f"{made('bash')}\n{ask}"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["mir"], {"mirror", "mirror-validate"}),
        (["help", "con"], {"convert-list"}),
        (["save", "--part"], {"--part", "--part-size"}),
        (["--quiet", "save", "--qui"], {"--quiet"}),
        (["save", "-c", "z"], {"zstd"}),
        (["save", "--log-format", ""], {"text", "json"}),
        (["--log-f"], {"--log-format"}),
        (["extract", "--format", ""], {"oci", "docker-archive"}),
        (["merge", "--format", ""], {"gzip", "zstd"}),
        (["merge", "--prefer", "f"], {"first"}),
        (["save", "-f", "li"], set()),
        (["ls", "arch"], set()),
    ],
)
def test_bash_completes(words: list[str], found: set[str]) -> None:
    assert set(completed(*words)) == found


@pytest.mark.parametrize("shell", SHELLS)
def test_each_script_has_all_commands_and_flags(shell: str) -> None:
    text = made(shell)
    program: Any = typer.main.get_command(make_app())
    for name in COMMANDS:
        assert name in text
        for option in program.commands[name].params:
            if option.param_type_name == "option":
                long = option.opts[-1]
                assert (f"-l {long[2:]} " if shell == "fish" else long) in text


@pytest.mark.extra
@pytest.mark.parametrize(("shell", "check"), [("zsh", ["-n"]), ("fish", ["--no-execute"])])
def test_the_shell_reads_its_script(tmp_path: Path, shell: str, check: list[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    (tmp_path / "script").write_text(made(shell))
    subprocess.run([shell, *check, str(tmp_path / "script")], check=True, capture_output=True)
