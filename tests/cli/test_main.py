from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from hangar_async import __version__
from hangar_async.archive.write.codec import GzipCodec, ZstdCodec
from hangar_async.cli import main
from hangar_async.cli.main import make_app
from hangar_async.config.jobs import MAX_JOBS
from hangar_async.config.options import DEFAULT_LISTEN, ExtractOptions, SaveOptions, ServeOptions
from hangar_async.config.output import DEFAULT_NAME, DEFAULT_PART_SIZE, LEVELS
from tests.cli.conftest import Program
from tests.cli.programs import command, environment, run
from tests.cli.site import Done
from tests.engine.reporting.rig import checked

GLOBAL_FLAGS = {"--debug": "false", "--quiet": "false", "--tls-verify": "true", "--log-format FORMAT": "text"}
NETWORK_FLAGS = {
    "-j, --jobs": "1",
    "--blobs-per-image": "6",
    "--requests": "60",
    "--retries": "4",
    "--stall-timeout": "60s",
    "--max-wait": "1h",
}
LIST_FLAGS = {
    **NETWORK_FLAGS,
    "-f, --file": None,
    "-a, --arch": "amd64,arm64",
    "--os": "all",
    "-s, --source": "$SOURCE_REGISTRY, else none",
    "--include-foreign": "false",
    "--referrers": "all",
    "--lenient": "false",
    "--mirror": "the mirrors of $CONTAINERS_REGISTRIES_CONF",
    "--limit-rate": "no limit",
}
HELD_FLAGS = {
    **NETWORK_FLAGS,
    "-s, --source": None,
    "-d, --destination": "$DEST_REGISTRY",
    "--to": "names below -d",
    "-c, --compress": "that of the content",
    "--referrers": "all",
    "--image": "all",
    "--name": "its own",
    "-f, --file": "all",
    "--default-project": "library",
}
MIRROR_FLAGS = {
    **NETWORK_FLAGS,
    "[IMAGE]...": "the images of a list",
    "-f, --file": "the images of the command line",
    "-a, --arch": "amd64,arm64",
    "--os": "linux,windows",
    "-s, --source": "$SOURCE_REGISTRY, else none",
    "-d, --destination": "$DEST_REGISTRY, else that of the line",
    "--to": "names below -d",
    "--lenient": "false",
    "--default-project": "library",
    "--mirror": "the mirrors of $CONTAINERS_REGISTRIES_CONF",
}
ARCHIVE_FLAGS = {
    "-d, --destination": DEFAULT_NAME,
    "--compress-level": f"{GzipCodec.default_level} for gzip, {ZstdCodec.default_level} for zstd",
    "--part": "false",
    "--part-size": DEFAULT_PART_SIZE,
    "--replace": "false",
    "--checksum": "sha256",
}
#: The flags and arguments of each command, with their defaults; None where it is required.
FLAGS: dict[str, dict[str, str | None]] = {
    "save": {
        "--shard": "all images",
        "--shards": "all images",
        **LIST_FLAGS,
        "-f, --file": "the images of --config",
        "--config": "no jobs",
        "--only": "all jobs of the file",
        **ARCHIVE_FLAGS,
        "-c, --compress": "gzip",
        "-o, --failed": "save-failed.txt",
        "--report": "none",
        "--validate": "false",
        "--keep-quota": "none is left",
    },
    "sync": {
        "--shard": "all images",
        "--shards": "all images",
        **LIST_FLAGS,
        "-d, --destination": "saved-image-cache",
        "-o, --failed": "sync-failed.txt",
        "--report": "none",
        "--keep-quota": "none is left",
    },
    "load": {
        "--shard": "all images",
        "--shards": "all images",
        **HELD_FLAGS,
        "-o, --failed": "load-failed.txt",
        "--report": "none",
        "--limit-rate": "no limit",
        "--repo-type": "nothing is made",
        "--harbor-https": "true",
        "--harbor-public": "false",
        "--ecr-immutable-tags": "false",
        "--ecr-lifecycle": "none",
        "--on-existing-tag": "overwrite",
        "--platform-tags": "false",
        "--index": "partial",
        "--sparse-index": "false",
        "--dry-run": "false",
        "--spool": ".",
    },
    "load-validate": {
        **HELD_FLAGS,
        "-o, --failed": "load-validate-failed.txt",
        "--report": "none",
        "--shard": "all images",
        "--shards": "all images",
    },
    "mirror": {
        "--shard": "all images",
        "--shards": "all images",
        "--cluster": "none",
        "--cluster-tls": "no TLS",
        "--cluster-insecure": "false",
        **MIRROR_FLAGS,
        "-c, --config": "no jobs",
        "--only": "all jobs of the file",
        "--overwrite": "moved",
        "--check": "false",
        "--explain": "nothing is told",
        "--schema": "false",
        "--prune-anyway": "false",
        "--json": "false",
        "--watch": "false",
        "--metrics": "none",
        "--plan": "those that the jobs choose",
        "--plan-out": "no plan",
        "-o, --failed": "mirror-failed.txt",
        "--report": "none",
        "--index": "auto",
        "--repo-type": "nothing is made",
        "--harbor-https": "true",
        "--harbor-public": "false",
        "--ecr-immutable-tags": "false",
        "--ecr-lifecycle": "none",
        "--platform-tags": "false",
        "--include-foreign": "false",
        "--verify-bytes": "false",
        "--recheck": "false",
        "--referrers": "all",
        "--recheck-referrers": "false",
        "--state": "none",
        "--keep-quota": "none is left",
        "--dry-run": "false",
        "--limit-rate": "no limit",
    },
    "mirror-validate": {
        **MIRROR_FLAGS,
        "-o, --failed": "mirror-validate-failed.txt",
        "--report": "none",
        "--shard": "all images",
        "--shards": "all images",
    },
    "serve": {
        "ARCHIVE": None,
        "--listen": DEFAULT_LISTEN,
        "--tls-cert": "plain HTTP",
        "--tls-key": "plain HTTP",
        "--htpasswd": "no password",
        "--max-per-address": "half of all, 450",
        "--access-log": "none",
        "--metrics": "none",
    },
    "ls": {"ARCHIVE": None, "--json": "false"},
    "verify": {"ARCHIVE": None, "--json": "false", "--report": "none"},
    "extract": {
        "ARCHIVE": None,
        "IMAGE...": None,
        "-o, --output": None,
        "--format": "oci",
        "--platform": "all platforms of the image",
        "--for": "none",
    },
    "compress": {**ARCHIVE_FLAGS, "-f, --file": "saved-image-cache", "--format": "gzip"},
    "merge": {**ARCHIVE_FLAGS, "ARCHIVE...": None, "--prefer": "they are refused", "--format": "gzip"},
    "decompress": {
        "-f, --file": None,
        "--format": "the format of the content",
        "-d, --destination": "saved-image-cache",
    },
    "convert-list": {
        "-i, --input": None,
        "-o, --output": "the input's name.converted",
        "-s, --source": "that of the image",
        "-d, --destination": "that of the image, else docker.io",
    },
    "report": {"ACTION": None, "REPORT...": None, "-o, --output": None, "--failed": "report-failed.txt"},
    "login": {"REGISTRY": None, "-u, --username": "asked for on a terminal", "--password-stdin": "false"},
    "logout": {"REGISTRY": None},
    "demo": {"DIRECTORY": "demo"},
    "completion": {"SHELL": None},
}
USAGE = [
    (["save"], "name a list of images with --file, or a job file with --config"),
    (["save", "-f"], "option '-f' requires an argument; try 'hangar-async save --help'"),
    (["save", "-f", "list.txt", "--retries", "-1"], "--retries -1: write 0 or more"),
    (["save", "-f", "list.txt", "--stall-timeout", "0"], "--stall-timeout 0: write a time above 0"),
    (
        ["sync", "-f", "list.txt", "--max-wait=soon"],
        "--max-wait: 'soon' is not a length of time: write seconds, or a number with s, m or h, such as 15m",
    ),
    (
        ["sync", "-f", "list.txt", "--limit-rate", "fast"],
        "--limit-rate: 'fast' is not a size: write a number of bytes above 0, or one with K, M, G or T, such as 2G",
    ),
    (
        ["save", "-f", "list.txt", "--mirror", "mirror.local"],
        "--mirror: 'mirror.local' is no mirror: write REGISTRY=MIRROR, such as docker.io=mirror.local:5000",
    ),
    (["load", "-s", "x"], "no registry is named to load into: write --destination or --to, or set DEST_REGISTRY"),
    (["load", "-d", "reg.local"], "missing option '-s' / '--source'; try 'hangar-async load --help'"),
    (["load", "-s", "", "-d", "reg.local"], "'' names nothing (--source)"),
    (
        ["load", "-s", "gone.tar.gz", "-d", "reg.local"],
        "there is no gone.tar.gz: name an archive, with or without .partN, or a cache directory",
    ),
    (
        ["load", "-s", "x", "-d", "reg.local:x"],
        "--destination: 'reg.local:x' is not a registry: write HOST or HOST:PORT, such as registry.example.com:5000",
    ),
    (
        ["load", "-s", "x", "-d", "reg.local", "--to", "reg.local/{name}"],
        "--destination reg.local and --to reg.local/{name} both say where images go: write one of them",
    ),
    (
        ["load-validate", "-s", "x", "--to", "reg.local/{name}:{tag}"],
        "--to 'reg.local/{name}:{tag}': the tag of an image is kept: leave out {tag}",
    ),
    (
        ["load", "-s", "x", "-d", "reg.local/UPPER"],
        "--destination: 'UPPER' has upper-case letters: repository names are lower case ('upper')",
    ),
    (
        ["load", "-s", "x", "-d", "reg.local", "--default-project", "A"],
        "--default-project: 'A' has upper-case letters: repository names are lower case ('a')",
    ),
    (
        ["load", "-s", "x", "-d", "reg.local", "-c", "rar"],
        "unknown format 'rar' (--compress): write one of gzip, zstd, dir, tar, xz, bzip2, zip",
    ),
    (
        ["load", "-s", "x", "-d", "reg.local", "--repo-type", "nexus"],
        "unknown type 'nexus' (--repo-type): write harbor or ecr",
    ),
    (
        ["load-validate", "-s", "x"],
        "no registry is named to load into: write --destination or --to, or set DEST_REGISTRY",
    ),
    (["save", "-f", "gone.txt"], "cannot read the image list gone.txt: No such file or directory"),
    (["save", "-f", "list.txt", "-c", "bzip2"], "unknown format 'bzip2' (--compress): write gzip, zstd or dir"),
    (
        ["save", "-f", "list.txt", "--part-size", "2P"],
        "--part-size: '2P' is not a size: write a number of bytes above 0, or one with K, M, G or T, such as 2G",
    ),
    (
        ["save", "-f", "list.txt", "--part", "--part-size=0"],
        "--part-size: '0' is not a size: write a number of bytes above 0, or one with K, M, G or T, such as 2G",
    ),
    (
        ["save", "-f", "list.txt", "-a", "amd 64"],
        "'amd 64' is not an architecture: write amd64, arm/v7, linux/arm64 or all",
    ),
    (["save", "-f", "list.txt", "-a", ","], "no architecture is given: write amd64, arm64 or all"),
    (["save", "-f", "list.txt", "-o", ""], "'' names no file to write (--failed)"),
    (["save", "-f", "list.txt", "-d", ""], "'.' names no file to write (-d): write a name"),
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
    (["saev"], "no such command 'saev'. Did you mean save or serve? try 'hangar-async --help'"),
    (["save", "-f", "empty.txt"], "empty.txt names no image: all of its lines are comments or blank"),
    (["save", "-f", "-"], "standard input names no image: it is empty"),
    (["save", "-f", "list.txt", "--compress-level", "10"], "--compress-level 10 is not a level of gzip: write 0 to 9"),
    (
        ["save", "-f", "list.txt", "-c", "zstd", "--compress-level=0"],
        "--compress-level 0 is not a level of zstd: write 1 to 19",
    ),
    (
        ["save", "-f", "list.txt", "-c", "dir", "--compress-level", "1"],
        "--compress-level 1: a directory is not compressed",
    ),
    (
        ["save", "-f", "x", "--quite"],
        "no such option: --quite. Did you mean --quiet or --file? try 'hangar-async save --help'",
    ),
    (
        ["inspect", "x"],
        "no such command 'inspect': 'ls --json' shows the images of an archive; try 'hangar-async --help'",
    ),
    (["completion", "tcsh"], "unknown shell 'tcsh': write bash, zsh or fish"),
    (["sync"], "missing option '-f' / '--file'; try 'hangar-async sync --help'"),
    (["sync", "-f", "list.txt", "-d", ""], "'' names nothing (--destination)"),
    (["sync", "-f", "gone.txt"], "cannot read the image list gone.txt: No such file or directory"),
    (["ls"], "missing argument 'ARCHIVE'; try 'hangar-async ls --help'"),
    (["ls", ""], "'' names nothing (ARCHIVE)"),
    (["ls", "gone"], "there is no gone: name an archive, with or without .partN, or a cache directory"),
    (["verify", "gone"], "there is no gone: name an archive, with or without .partN, or a cache directory"),
    (["extract", "gone"], "missing argument 'IMAGE...'; try 'hangar-async extract --help'"),
    (["extract", "gone", "one:1"], "missing option '-o' / '--output'; try 'hangar-async extract --help'"),
    (["extract", "gone", "one:1", "-o", ""], "'' names no file to write (--output)"),
    (
        ["extract", "gone", "one:1", "-o", "out", "--format", "docker"],
        "unknown format 'docker' (--format): write oci, oci-archive, docker-archive",
    ),
    (
        ["extract", "gone", "one:1", "-o", "none/out"],
        "the directory none does not exist (-o none/out): make it first",
    ),
    (["compress", "-f", "gone"], "there is no cache directory gone (-f)"),
    (["compress", "-d", ""], "'.' names no file to write (-d): write a name"),
    (["compress", "--format", "dir"], "unknown format 'dir' (--format): write gzip or zstd"),
    (
        ["compress", "--part-size", "none"],
        "--part-size: 'none' is not a size: write a number of bytes above 0, or one with K, M, G or T, such as 2G",
    ),
    (["compress", "--compress-level", "-1"], "--compress-level -1 is not a level of gzip: write 0 to 9"),
    (["decompress"], "missing option '-f' / '--file'; try 'hangar-async decompress --help'"),
    (["decompress", "-f", "gone"], "there is no gone: name an archive, with or without .partN, or a cache directory"),
    (["decompress", "-f", "x", "--format", "xz"], "unknown format 'xz' (--format): write gzip or zstd"),
    (["decompress", "-f", "."], ". is a directory: there is nothing to unpack (-f)"),
    (["convert-list"], "missing option '-i' / '--input'; try 'hangar-async convert-list --help'"),
    (["convert-list", "-i", "gone.txt"], "cannot read the image list gone.txt: No such file or directory"),
    (
        ["convert-list", "-i", "list.txt", "-o", "./list.txt"],
        "list.txt would replace list.txt, which this command uses: write another name",
    ),
    (["convert-list", "-i", "list.txt", "-o", ""], "'' names no file to write (--output)"),
    (["convert-list", "-i", "."], "cannot read the image list .: Is a directory"),
    (["convert-list", "-i", "-"], "a list without a file has no name for its mirror list: write --output"),
    (
        ["convert-list", "-i", "list.txt", "-d", "reg"],
        "--destination: 'reg' is taken for a part of a name, not for a registry: write reg:443, its port",
    ),
    (
        ["convert-list", "-i", "list.txt", "-s", "a b"],
        "--source: 'a b' is not a registry: write HOST or HOST:PORT, such as registry.example.com:5000",
    ),
    (["report", "merge", "-o", "all.json"], "missing argument 'REPORT...'; try 'hangar-async report --help'"),
    (["report", "join", "a", "-o", "all.json"], "unknown action 'join': merge is the only one"),
    (["save", "-f", "list.txt", "--report", ""], "'' names no file to write (--report)"),
    (["save", "-f", "list.txt", "--log-format", "xml"], "'xml' is not a value of --log-format: write text or json"),
    (["save", "-f", "list.txt", "--log-format"], "'' is not a value of --log-format: write text or json"),
    (["serve"], "missing argument 'ARCHIVE'; try 'hangar-async serve --help'"),
    (["serve", ""], "'' names nothing (ARCHIVE)"),
    (["serve", "gone"], "there is no gone: name an archive, with or without .partN, or a cache directory"),
    (
        ["serve", "gone", "--listen", "5000"],
        "'5000' is no address to listen on (--listen): write HOST:PORT, or :PORT for all",
    ),
    (["serve", "gone", "--tls-cert", "x"], "TLS needs a certificate and its key: --tls-key is missing"),
    (["serve", "gone", "--tls-key", "x"], "TLS needs a certificate and its key: --tls-cert is missing"),
    (["serve", "gone", "--max-per-address", "0"], "--max-per-address is 0: write a number from 1 on"),
    (["serve", "gone", "--htpasswd", ""], "'' names nothing (--htpasswd)"),
    (
        ["serve", "gone", "--tls-cert", "x", "--tls-key", "y"],
        "cannot read x (--tls-cert): No such file or directory",
    ),
    (["serve", "gone", "--htpasswd", "x"], "cannot read x (--htpasswd): No such file or directory"),
]


@pytest.mark.parametrize(("arguments", "line"), USAGE, ids=[" ".join(arguments) for arguments, _ in USAGE])
def test_usage_errors_are_one_line_and_status_2(
    home: Path, program: Program, monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert program(*arguments) == Done(2, "", f"hangar-async: {line}\n")
    assert sorted(path.name for path in home.iterdir()) == ["empty.txt", "list.txt"]


def test_a_wrong_value_of_an_option_is_one_line(home: Path) -> None:
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


@pytest.mark.parametrize("name", FLAGS)
def test_help_has_every_flag_with_its_default(program: Program, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    done = program(name, "--help")
    assert (done.status, done.err) == (0, "")
    text = re.sub(r"-\n +", "-", done.out)
    text = re.sub(r"\s+", " ", text)
    # Behind the usage line, which names arguments too.
    text = text.partition(f"Usage: hangar-async {name} ")[2].partition(". ")[2]
    for flag, default in {**FLAGS[name], **GLOBAL_FLAGS}.items():
        after = text.partition(f" {flag} ")[2]
        assert after, flag
        first = re.search(r"\[(default: [^]]*|required)\]", after)
        assert first is not None
        assert first[1] == ("required" if default is None else f"default: {default}"), flag


def test_ways_to_ask_for_help(home: Path) -> None:
    shown = run(home, "save", "--help")
    for arguments in (["save", "-h"], ["--debug", "save", "-f", "x", "--help=true"], ["help", "save"]):
        done = run(home, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, shown.stdout, "")


def test_no_flag_is_left_out_here(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    for name, flags in FLAGS.items():
        options = program(name, "--help").out.partition("Options:\n")[2].partition("\n\n")[0]
        shown = {flag for line in options.splitlines() for flag in re.findall(r"^  (?:-\w, )?(--[a-z-]+)", line)}
        assert shown - {"--help"} == {flag.split(", ")[-1] for flag in flags if flag.startswith("-")}


def test_help_names_the_bounds(program: Program) -> None:
    text = re.sub(r"\s+", " ", program("save", "--help").out)
    assert f"1 to {MAX_JOBS}" in text
    for name, (lowest, highest) in LEVELS.items():
        assert f"{lowest} to {highest} for {name}" in text


def test_defaults_in_the_help_are_those_of_the_library() -> None:
    defaults = SaveOptions(images=["one"], destination=Path("out"))
    assert tuple(defaults.architectures) == ("amd64", "arm64")
    assert (defaults.systems, defaults.format, defaults.jobs, defaults.source) == ((), "gzip", 1, None)
    assert (defaults.part_size, defaults.include_foreign, defaults.validate) == (None, False, False)
    extracted = ExtractOptions(source=Path("x"), image="one", destination=Path("y"))
    assert (extracted.format, extracted.platform) == (FLAGS["extract"]["--format"], None)
    assert ServeOptions(source=Path("x")).listen == FLAGS["serve"]["--listen"]


@pytest.mark.parametrize("words", [("save", "-f", "gone.txt"), ("save",), ("save", "-f", "list.txt", "--quiet=x")])
def test_a_wrong_use_is_one_line_of_json_on_request(program: Program, words: tuple[str, ...]) -> None:
    for flags in (("--log-format", "json"), ("--log-format=json",)):
        done = program(*flags, *words)
        [line] = done.err.splitlines()
        error = checked(line, "events")
        assert (done.status, done.out, error["event"], error["reason"], error["status"]) == (2, "", "error", "usage", 2)


def test_the_steps_of_a_run_are_messages_in_json(home: Path) -> None:
    done = run(home, "verify", "--debug", "--log-format=json", "gone")
    lines = [checked(line, "events") for line in done.stderr.splitlines()]
    assert done.returncode == 2
    assert lines[-1]["event"] == "error"
    assert any("Traceback" in line["text"] for line in lines[:-1])


def test_help_of_the_program(home: Path) -> None:
    done = run(home, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^  ([a-z][a-z-]*)  ", done.stdout, re.MULTILINE) == list(FLAGS)
    for flag in ("--debug", "--quiet", "--tls-verify", "-V, --version", "--log-format FORMAT"):
        assert f"\n  {flag} " in done.stdout


def test_help_of_the_program_describes_each_command_in_full(home: Path) -> None:
    shown = " ".join(run(home, "--help").stdout.split())
    assert run(home, "help").stdout == run(home, "--help").stdout
    program: Any = typer.main.get_command(make_app())
    for one in program.commands.values():
        assert " ".join(one.help.split("\n\n")[0].split()) in shown


def test_help_that_cannot_be_written_says_so(home: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("save", "--help"),
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(home),
            check=False,
            text=True,
        )
    assert (done.returncode, done.stderr[:60]) == (3, "hangar-async: cannot write standard output: No space left on")


def test_without_arguments_the_help_is_shown_as_an_error(home: Path) -> None:
    done = run(home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == run(home, "--help").stdout


@pytest.mark.parametrize("arguments", [["--version"], ["-V"], ["save", "-V"], ["--version=true", "--debug"]])
def test_version(home: Path, arguments: list[str]) -> None:
    done = run(home, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"hangar-async {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in FLAGS)])
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


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_standard_streams_without_a_null_device(home: Path, closed: str) -> None:
    script = "import os\nos.devnull = '/nowhere'\nfrom hangar_async.cli.main import run\nrun(['save', '-f', '-'])"
    line = f"{shlex.join([sys.executable, '-c', script])} {closed}"
    done = subprocess.run(["sh", "-c", line], cwd=home, env=environment(home), capture_output=True, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (2, False)


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


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["save", "--help"]])
def test_standard_output_on_a_full_disk(home: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(*arguments), stdout=full, stderr=-1, env=environment(home), check=False, cwd=home, text=True
        )
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert (done.stderr.count("\n"), "report" in done.stderr) == (1, False)


def test_a_working_directory_that_is_gone(home: Path) -> None:
    gone = home / "gone"
    gone.mkdir()
    for arguments, status in ((["save", "-f", str(home / "list.txt")], 2), (["ls", "x"], 2), (["ls", "--help"], 0)):
        line = f"rmdir {gone}; {shlex.join(command(*arguments))}; status=$?; mkdir {gone}; exit $status"
        done = subprocess.run(
            ["sh", "-c", line], cwd=gone, env=environment(home), capture_output=True, text=True, check=False
        )
        assert done.returncode == status
        assert done.stderr == (
            "hangar-async: the working directory is gone: go to another one (cd)\n" if status else ""
        )


@pytest.mark.parametrize("flag", ["-d", "-o"])
@pytest.mark.parametrize("place", ["x" * 300, f"{'x' * 300}/out"])
def test_a_name_of_300_characters(home: Path, program: Program, flag: str, place: str) -> None:
    done = program("save", "-f", "list.txt", flag, place)
    assert done.status == 2
    assert done.err.endswith("File name too long; choose a shorter name\n")
