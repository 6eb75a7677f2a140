from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hangar_async import __version__
from hangar_async.cli import main
from hangar_async.config import DEFAULT_NAME, DEFAULT_PART_SIZE, MAX_JOBS, SaveOptions
from tests.cli.programs import command, environment, run

FLAGS = [
    ("-f, --file", None),
    ("-a, --arch", "amd64,arm64"),
    ("--os", "all"),
    ("-c, --compress", "gzip"),
    ("-d, --destination", DEFAULT_NAME),
    ("-o, --failed", "save-failed.txt"),
    ("-j, --jobs", "1"),
    ("--part", "false"),
    ("--part-size", DEFAULT_PART_SIZE),
    ("-s, --source", "$SOURCE_REGISTRY, else each its own"),
    ("--include-foreign", "false"),
    ("--debug", "false"),
    ("--quiet", "false"),
    ("--tls-verify", "true"),
]
USAGE = [
    (["save"], "missing option '-f' / '--file'; try 'hangar-async save --help'"),
    (["save", "-f"], "option '-f' requires an argument; try 'hangar-async save --help'"),
    (["save", "-f", "gone.txt"], "cannot read the image list gone.txt: No such file or directory"),
    (["save", "-f", "list.txt", "-c", "bzip2"], "unknown format 'bzip2' (--compress): write gzip, zstd or dir"),
    (
        ["save", "-f", "list.txt", "--part-size", "2T"],
        "--part-size: '2T' is not a size: write a number of bytes above 0, or one with K, M or G, such as 2G",
    ),
    (
        ["save", "-f", "list.txt", "--part", "--part-size=0"],
        "--part-size: '0' is not a size: write a number of bytes above 0, or one with K, M or G, such as 2G",
    ),
    (
        ["save", "-f", "list.txt", "-a", "amd 64"],
        "'amd 64' is not an architecture: write amd64, arm/v7, linux/arm64 or all",
    ),
    (["save", "-f", "list.txt", "-a", ","], "no architecture is given: write amd64, arm64 or all"),
    (["save", "-f", "list.txt", "-o", ""], "'' names no file to write (--failed)"),
    (["save", "-f", "list.txt", "-d", ""], "'.' names no file to write (--destination)"),
    (
        ["save", "-f", "list.txt", "-c", "dir", "--part"],
        "a directory has no parts: leave out --part, or choose --compress gzip or zstd",
    ),
    (
        ["save", "-f", "list.txt", "-s", "a b"],
        "'a b' is not a registry: write HOST or HOST:PORT, such as registry.example.com:5000",
    ),
    (["save", "-f", "list.txt", "more"], "got unexpected extra argument(s) (more); try 'hangar-async save --help'"),
    (
        ["save", "--tls-verify=yes"],
        "'yes' is not a value of --tls-verify: write --tls-verify=true or --tls-verify=false",
    ),
    (["save", "--nonsense"], "no such option: --nonsense; try 'hangar-async save --help'"),
    (["saev"], "no such command 'saev'. Did you mean 'save'? try 'hangar-async --help'"),
    (["save", "-f", "empty.txt"], "empty.txt names no image: it is empty"),
    (["save", "-f", "-"], "standard input names no image: it is empty"),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "list.txt").write_text("127.0.0.1:1/one:1\n")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    return tmp_path


@pytest.mark.parametrize(("arguments", "line"), USAGE, ids=[" ".join(arguments) for arguments, _ in USAGE])
def test_usage_errors_are_one_line_and_status_2(home: Path, arguments: list[str], line: str) -> None:
    done = run(home, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"hangar-async: {line}\n")
    assert sorted(path.name for path in home.iterdir()) == ["empty.txt", "list.txt"]


def test_what_typer_finds_wrong_with_a_value_is_one_line_too(home: Path) -> None:
    done = run(home, "save", "-f", "list.txt", "-j", "many")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("hangar-async: invalid value for '-j' / '--jobs': ")
    assert done.stderr.endswith("; try 'hangar-async save --help'\n")


def test_a_bad_environment_is_a_usage_error(home: Path) -> None:
    done = run(home, "save", "-f", "list.txt", env={"SOURCE_DATE_EPOCH": "yesterday"})
    assert done.returncode == 2
    assert done.stderr == (
        "hangar-async: SOURCE_DATE_EPOCH='yesterday' is not a time: write whole seconds since 1970\n"
    )


def test_debug_shows_where_an_error_comes_from(home: Path) -> None:
    done = run(home, "save", "-f", "gone.txt", "--debug")
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert "Traceback (most recent call last):" in lines
    assert lines[-1] == "hangar-async: cannot read the image list gone.txt: No such file or directory"


def test_help_of_save_has_every_flag_with_its_default(home: Path) -> None:
    for arguments in (["save", "--help"], ["save", "-h"], ["--debug", "save", "-f", "x", "--help=true"]):
        done = run(home, *arguments, env={"COLUMNS": "300"})
        assert (done.returncode, done.stderr) == (0, "")
        text = re.sub(r"-\n +", "-", done.stdout)
        text = re.sub(r"\s+", " ", text)
        for flag, default in FLAGS:
            after = text.partition(f" {flag} ")[2]
            assert after, flag
            first = re.search(r"\[(default: [^]]*|required)\]", after)
            assert first is not None
            assert first[1] == ("required" if default is None else f"default: {default}"), flag
        assert f"1 to {MAX_JOBS}" in text


def test_defaults_in_the_help_are_those_of_the_library() -> None:
    defaults = SaveOptions(images=["one"])
    assert tuple(defaults.architectures) == ("amd64", "arm64")
    assert (defaults.systems, defaults.format, defaults.jobs, defaults.source) == ((), "gzip", 1, None)
    assert (defaults.failed, defaults.part_size, defaults.include_foreign) == (Path("save-failed.txt"), None, False)


def test_help_of_the_program(home: Path) -> None:
    done = run(home, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^  save  Save the images", done.stdout, re.MULTILINE)
    assert re.search(r"^  demo  ", done.stdout, re.MULTILINE)
    for flag in ("--debug", "--quiet", "--tls-verify", "--version"):
        assert f"\n  {flag} " in done.stdout


def test_without_arguments_the_help_is_shown_as_an_error(home: Path) -> None:
    done = run(home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == run(home, "--help").stdout


@pytest.mark.parametrize("arguments", [["--version"], ["save", "--version"], ["--version=true", "--debug"]])
def test_version(home: Path, arguments: list[str]) -> None:
    done = run(home, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"hangar-async {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["save", "--help"], ["demo", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    script = (
        "import json, sys\nfrom hangar_async.cli.main import run\n"
        "try:\n    run(sys.argv[1:])\nfinally:\n    print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment(tmp_path),
    )
    heavy = {"aiohttp", "aiofiles", "zstandard", "isal", "msgspec", "tenacity", "rich", "pydantic", "asyncio", "uvloop"}
    assert heavy.isdisjoint(json.loads(done.stderr.splitlines()[-1]))


def test_output_that_nobody_reads(home: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        for arguments in (["--help"], ["--version"]):
            done = subprocess.run(
                command(*arguments), stdout=writer, stderr=subprocess.PIPE, env=environment(home), check=False, cwd=home
            )
            assert done.stderr == b""
            assert done.returncode in (0, 1)
    finally:
        os.close(writer)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_standard_streams(home: Path, closed: str) -> None:
    line = shlex.join(command("save", "-f", "-"))
    done = subprocess.run(
        ["sh", "-c", f"{line} {closed}"], cwd=home, env=environment(home), capture_output=True, text=True, check=False
    )
    expected = "" if closed == "2>&-" else "hangar-async: standard input names no image: it is empty\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_a_name_that_is_no_text(home: Path) -> None:
    done = run(home, "save", "-f", "list\udcff.txt")
    assert done.returncode == 2
    assert done.stderr == "hangar-async: cannot read the image list list\\udcff.txt: No such file or directory\n"


def test_a_defect_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("never\nseen")

    monkeypatch.setattr(main, "normalise", broken)
    with pytest.raises(SystemExit) as ended:
        main.run(["save"])
    assert ended.value.code == 3
    assert capsys.readouterr().err == (
        "hangar-async: unexpected RuntimeError: never seen; --debug shows where: please report it\n"
    )
