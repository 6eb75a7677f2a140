from __future__ import annotations

import asyncio
import base64
import io
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hangar_async.cli import main
from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions
from tests.cli.commands.rig import SECRET
from tests.cli.conftest import Program
from tests.cli.programs import WITHOUT_PAUSES, command, environment
from tests.cli.site import Site, call, run_words
from tests.engine.reporting.rig import checked
from tests.fakes.faulty_disk import forbid_reading
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry


def options_of(asked_saves: list[tuple[SaveOptions, bool]], line: str) -> SaveOptions:
    with pytest.raises(SystemExit) as ended:
        main.run(line.split())
    assert ended.value.code == 0
    return asked_saves.pop()[0]


def test_defaults(asked_saves: list[tuple[SaveOptions, bool]]) -> None:
    options = options_of(asked_saves, "save -f list.txt")
    assert options == SaveOptions(
        images=Path("list.txt"),
        systems=("all",),
        destination=Path("saved-images"),
        failed=Path("save-failed.txt"),
        cache=Path("saved-image-cache"),
        environment=Environment.read(),
    )
    assert options.output.target == Path("saved-images.tar.gz")


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("--file=x", "images", Path("x")),
        ("-a arm64", "architectures", ("arm64",)),
        ("--arch amd64,arm/v7, -a linux/arm64", "architectures", ("amd64", "arm/v7", "linux/arm64")),
        ("--os windows,linux", "systems", ("windows", "linux")),
        ("-c zstd", "format", "zstd"),
        ("--compress=dir", "format", "dir"),
        ("-d out/x", "destination", Path("out/x")),
        ("--destination x.tgz", "destination", Path("x.tgz")),
        ("--compress-level 9", "level", 9),
        ("-c zstd --compress-level=19", "level", 19),
        ("--checksum none", "checksum", "none"),
        ("--checksum=sha256", "checksum", "sha256"),
        ("-o f.txt", "failed", Path("f.txt")),
        ("--failed=f.txt", "failed", Path("f.txt")),
        ("-j 4", "jobs", 4),
        ("-j=4", "jobs", 4),
        ("-j4", "jobs", 4),
        ("--jobs 0", "jobs", 0),
        ("--jobs=100", "jobs", 100),
        ("-j -3", "jobs", -3),
        ("--part", "part_size", 2 << 30),
        ("--part=true --part-size 100m", "part_size", 100 << 20),
        ("--part --part-size=12345", "part_size", 12345),
        ("--part-size 100M", "part_size", None),
        ("--part --part=false", "part_size", None),
        ("-s reg.example.com:5000", "source", "reg.example.com:5000"),
        ("--source=reg.example.com", "source", "reg.example.com"),
        ("--include-foreign", "include_foreign", True),
        ("--include-foreign=false", "include_foreign", False),
    ],
)
def test_each_option(asked_saves: list[tuple[SaveOptions, bool]], line: str, name: str, value: object) -> None:
    assert getattr(options_of(asked_saves, f"save -f list.txt {line}"), name) == value


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("-c gzip", "saved-images.tar.gz"),
        ("-c zstd", "saved-images.tar.zstd"),
        ("-c dir", "saved-images"),
        ("-c gzip -d out", "out.tar.gz"),
        ("-c zstd -d a.dir/out", "a.dir/out.tar.zstd"),
        ("-c zstd -d out.tgz", "out.tgz"),
        ("-c dir -d out", "out"),
    ],
)
def test_the_name_of_the_output(asked_saves: list[tuple[SaveOptions, bool]], line: str, target: str) -> None:
    assert options_of(asked_saves, f"save -f list.txt {line}").output.target == Path(target)


@pytest.mark.parametrize(
    ("line", "verify", "quiet"),
    [
        ("save -f x", True, False),
        ("--tls-verify=false save -f x", False, False),
        ("save -f x --tls-verify=false --quiet", False, True),
        ("--quiet=true --tls-verify save -f x", True, True),
        ("--quiet save -f x --quiet=false --tls-verify=0", False, False),
    ],
)
def test_global_flags_reach_the_engine(
    asked_saves: list[tuple[SaveOptions, bool]], line: str, verify: bool, quiet: bool
) -> None:
    with pytest.raises(SystemExit):
        main.run(line.split())
    [(options, was_quiet)] = asked_saves
    assert (options.environment.registries.tls_verify, was_quiet) == (verify, quiet)


def test_the_environment_is_read_and_a_flag_wins(
    asked_saves: list[tuple[SaveOptions, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_REGISTRY", "env.example.com")
    monkeypatch.setenv("SOURCE_USERNAME", "me")
    monkeypatch.setenv("SOURCE_PASSWORD", "a:b")
    options = options_of(asked_saves, "save -f x")
    assert options.source_registry == "env.example.com"
    assert (options.environment.registries.username, options.environment.registries.password) == ("me", "a:b")
    assert options_of(asked_saves, "save -f x -s flag.example.com").source_registry == "flag.example.com"


def test_standard_input(asked_saves: list[tuple[SaveOptions, bool]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one:1\r\ntwo:2\n")))
    options = options_of(asked_saves, "save -f -")
    assert (options.images, options.list_name) == (["one:1", "two:2"], "standard input")


def test_standard_input_is_decoded_as_a_file_is(
    asked_saves: list[tuple[SaveOptions, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("one:1\r\n".encode("utf-16"))))
    assert [line.strip("\ufeff") for line in options_of(asked_saves, "save -f -").images] == ["one:1"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("quiet", [False, True])
def test_a_signal_ends_a_run_and_the_earlier_archive_stays(
    tmp_path: Path, silent_socket: socket.socket, number: signal.Signals, status: int, word: str, quiet: bool
) -> None:
    (tmp_path / "list.txt").write_text(f"127.0.0.1:{silent_socket.getsockname()[1]}/one:1\n")
    (tmp_path / "saved-images.tar.gz").write_text("earlier")
    flags = ("--quiet",) if quiet else ("--report", "-")
    line = command("save", "-f", "list.txt", *flags)
    with subprocess.Popen(
        line, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            connection, _ = silent_socket.accept()
            with connection:
                process.send_signal(number)
                out, err = process.communicate()
        finally:
            process.kill()
    said = f"hangar-async: {word}: what was fetched stays in the cache (once more ends at once)"
    assert process.returncode == status
    if quiet:
        assert out == ""
    else:
        document = checked(out)
        assert (document["end"], [one["reason"] for one in document["images"]]) == ("interrupted", ["not reached"])
    lines = err.splitlines()
    assert lines[-1] == said
    assert len(lines) == (1 if quiet else 2)
    assert (tmp_path / "saved-images.tar.gz").read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.txt", "saved-image-cache", "saved-images.tar.gz"]


@pytest.mark.parametrize(("named", "status"), [(False, 3), (True, 2)])
def test_a_credential_file_of_another_user_is_a_warning_unless_it_was_named(
    program: Program, home: Path, monkeypatch: pytest.MonkeyPatch, named: bool, status: int
) -> None:
    monkeypatch.setenv("HOME", str(home / "other"))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    path = forbid_reading(home / "other" / ".docker" / "config.json", monkeypatch)
    if named:
        monkeypatch.setenv("DOCKER_CONFIG", str(path.parent))
    done = program("save", "-f", "list.txt", "--retries=0", "--quiet")
    text = f"cannot read the credentials in {path}: Permission denied"
    assert done.status == status
    assert (f"{text}; going on without it" in done.err) is not named
    assert (f"hangar-async: {text}\n" in done.err) is named


@pytest.mark.parametrize(
    "keys", [("https://{}/v1/", "https://{}", "{}"), ("{}", "{}/other", "{}/team")], ids=["of a host", "of a path"]
)
async def test_the_plainest_key_of_a_credential_file_is_sent(
    password_registry: FakeRegistry, tmp_path: Path, keys: tuple[str, ...]
) -> None:
    """The last key has the right password, those before it have older ones."""
    password_registry.add("team/app:1", small("app"))
    (tmp_path / "list.txt").write_text(f"{password_registry.address}/team/app:1\n")
    words = [*(f"me:old{number}" for number in range(len(keys) - 1)), f"me:{SECRET}"]
    auths = {
        key.format(password_registry.address): {"auth": base64.b64encode(word.encode()).decode()}
        for key, word in zip(keys, words, strict=True)
    }
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    done = await call(tmp_path, "save", "-f", "list.txt", DOCKER_CONFIG=str(tmp_path))
    assert (done.status, done.rows()["saved"]) == (0, ["1 image, 1 platform"]), done


@pytest.mark.parametrize("how", ["refuses", "drops"])
async def test_a_registry_that_is_away_is_told_in_one_line_and_holds_up_no_other(
    fake_registry: FakeRegistry, tmp_path: Path, how: str
) -> None:
    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    if how == "refuses":
        server.close()
    lines: list[str] = []
    for number in range(20):
        fake_registry.add(f"good{number}:1", small(f"good{number}"))
        lines += [f"{address}/gone{number}:1", f"{fake_registry.address}/good{number}:1"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    async with server:
        done = await run_words(
            tmp_path, sys.executable, "-c", WITHOUT_PAUSES, "save", "-f", "list.txt", "-j", "4", "-a", "all"
        )
    assert done.status == 1, done
    assert done.rows()["saved"][0].startswith("20 of 40 images")
    waits = [line for line in done.err.splitlines() if line[9:13] == "wait"]
    assert len(waits) == 1, done.err
    assert f"{address} gives no answer, and is asked again for up to 0:00:00: the connection " in waits[0]
    failed = [line for line in done.err.splitlines() if line[9:15] == "failed"]
    assert len(failed) == 20
    assert all("it gave no answer in this run" in line for line in failed)
    assert sum(line.startswith(address) for line in (tmp_path / "save-failed.txt").read_text().splitlines()) == 20


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("--part-size 2G", "hangar-async: warning: --part-size makes no parts without --part, and is ignored\n"),
        ("--part --part-size 2G", ""),
        ("", ""),
    ],
)
def test_a_size_of_parts_without_parts_is_warned_of(
    asked_saves: list[tuple[SaveOptions, bool]], program: Program, line: str, warning: str
) -> None:
    assert program("save", "-f", "x", *line.split()).err == warning


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
async def test_an_archive_through_a_pipe(site: Site, kind: str) -> None:
    """It has the bytes of one in a file; all that is said goes elsewhere, and nothing else is left."""
    site.list("team/one:1", "two:2")
    assert (await site.save("-f", "list.txt", "-c", kind, "-d", "x.tar")).status == 0
    line = " ".join([*command("save", "-f", "list.txt", "-c", kind, "-d", "-"), "| cat > piped.tar"])
    done = await site.call("sh", "-c", line)
    assert (done.status, done.out) == (0, "")
    assert "standard output, " in done.err
    assert (site.home / "piped.tar").read_bytes() == (site.home / "x.tar").read_bytes()
    assert not list((site.home / "saved-image-cache").glob(".output*"))
    assert (await site.run("verify", "piped.tar")).status == 0


async def test_a_reader_that_goes_away_ends_it(site: Site) -> None:
    site.list("team/one:1", "two:2")
    line = " ".join(["(", *command("save", "-f", "list.txt", "-d", "-"), "; echo $? >status) | true"])
    done = await site.call("sh", "-c", f"sleep 0; {line}")
    assert (site.home / "status").read_text() == "3\n"
    assert "cannot write standard output: " in done.err


@pytest.mark.parametrize("words", [["-c", "dir"], ["--part"], ["--validate"], ["--report", "-"]])
def test_what_a_pipe_cannot_take(program: Program, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("127.0.0.1:1/a:1\n")
    done = program("save", "-f", "list.txt", "-d", "-", *words)
    assert done.status == 2
    assert "standard output (-d -)" in done.err


async def test_images_that_jobs_choose(site: Site) -> None:
    lines = f"version: 1\njobs: [{{name: all, from: {site.address}/team/one, to: x.local/y, tags: '*'}}]\n"
    (site.home / "jobs.yaml").write_text(lines)
    done = await site.save("--config", "jobs.yaml", "-c", "dir")
    assert done.status == 0
    assert done.rows()["saved"][0].startswith("1 image")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ((), "name a list of images with --file, or a job file with --config"),
        (("--config", "x", "-f", "list.txt"), "--file stands in the job file: leave it out beside --config"),
        (("--config", "x", "--os", "linux"), "--os stands in the job file"),
        (("-f", "x", "--only", "a"), "--only needs a job file: write --config FILE too"),
        (("--config", "none.yaml"), "cannot read the job file none.yaml"),
    ],
)
def test_a_list_or_a_job_file(program: Program, flags: tuple[str, ...], line: str) -> None:
    done = program("save", *flags)
    assert (done.status, done.out) == (2, "")
    assert line in done.err


@pytest.mark.parametrize("flag", ["-d", "-o", "--report"])
def test_no_output_replaces_the_job_file(program: Program, home: Path, flag: str) -> None:
    text = '{"version":1,"jobs":[{"name":"a","from":"in.local/a","to":"out.local/a"}]}'
    (home / "jobs.json").write_text(text)
    done = program("save", "--config", "jobs.json", flag, "jobs.json")
    assert done.status == 2
    assert "jobs.json" in done.err
    assert (home / "jobs.json").read_text() == text
