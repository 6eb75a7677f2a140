"""The program against a registry on a real socket: what is said, what it leaves, how it ends."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import hashlib
import json
import os
import pty
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from hangar_async.testing.images import attestation, image, index, layer
from tests.cli.programs import command, environment
from tests.cli.site import ARM64, Done, Site, call, run_words
from tests.failed_list import names_in
from tests.fakes.auth import TokenServer
from tests.fakes.faults import Status
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry, fake_registry

#: Runs the program, and leaves the names of its modules in a file.
LOADED = """
import atexit, json, pathlib, sys
before = set(sys.modules)  # those of a measurement of the tests too
from hangar_async.cli.main import run
atexit.register(lambda: pathlib.Path("loaded.json").write_text(json.dumps(sorted(set(sys.modules) - before))))
run(sys.argv[1:])
"""
HTTP, READER, WRITER = "aiohttp", "hangar_async.archive.read.archive", "hangar_async.archive.write.writer"
HEAVY = {"pydantic", "rich", "tomllib", "bcrypt", "importlib.metadata", "hangar_async.testing"}
CODECS = {"isal", "zstandard"}
PULL, PUSH, VALIDATE = "hangar_async.engine.pull.fetch", "hangar_async.engine.push.run", "hangar_async.engine.validate"
SERVER = "hangar_async.server.app"
#: Modules that a mirror does not need.
MIRROR = {*CODECS, READER, WRITER, PULL, PUSH, VALIDATE, SERVER}


def normal(text: str, site: Site) -> str:
    return text.replace(site.address, "REGISTRY").replace(str(site.home.resolve()), "HOME")


async def test_a_list_is_saved(site: Site) -> None:
    done = await site.save("-f", "list.txt", "-j", "4")
    assert done.status == 0
    rows = done.rows()
    assert list(rows) == ["fetched", "archive", "check", "unpack", "time", "saved"]
    assert rows["saved"] == ["2 images, 3 platforms"]
    size = (site.home / "saved-images.tar.gz").stat().st_size
    assert normal(rows["archive"][0], site).startswith("HOME/saved-images.tar.gz, ")
    assert f"{size / 1024:.1f} KiB, gzip by " in rows["archive"][0]
    lines = [line.split(maxsplit=1) for line in normal(done.err, site).splitlines()]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", time) for time, _ in lines)
    said = [text for _, text in lines]
    assert said[0] == "start    2 images, 24 requests at once"
    assert {"done     REGISTRY/team/one:1", "done     REGISTRY/two:2"} < set(said)
    assert said[-1] == "finish   syncing saved-images.tar.gz and putting it in place"
    assert not (site.home / "save-failed.txt").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["-c", "gzip"],
        pytest.param(
            ["-c", "zstd", "-d", "of zstd"],
            marks=pytest.mark.skipif(shutil.which("zstd") is None, reason="tar --zstd needs zstd"),
        ),
        ["--part", "--part-size", "100K"],
        ["--part", "--part-size", "20K", "-d", "a b.tgz"],
        ["-d", "a dir/out", "--compress-level", "9"],
    ],
)
async def test_the_way_to_unpack_is_right(site: Site, flags: list[str]) -> None:
    (site.home / "a dir").mkdir()
    done = await site.save("-f", "list.txt", "--quiet=false", *flags)
    assert done.status == 0
    (site.home / "saved-image-cache").rename(site.home / "cache")
    checked = await site.shell(done.rows()["check"][0])
    assert (checked.status, checked.err) == (0, "")
    assert all(line.endswith(": OK") for line in checked.out.splitlines())
    unpacked = await site.shell(done.rows()["unpack"][0])
    assert (unpacked.status, unpacked.err) == (0, "")
    names = {path.name for path in (site.home / "saved-image-cache" / "share" / "sha256").iterdir()}
    assert names == {path.name for path in (site.home / "cache" / "share" / "sha256").iterdir()}


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["-o", "list.txt"], "list.txt"),
        (["-d", "list.txt"], "list.txt"),
        (["-d", "backup", "-o", "backup.tar.gz"], "backup.tar.gz"),
        (["-o", "diary.txt"], "diary.txt"),
    ],
)
async def test_no_file_of_the_user_is_lost(site: Site, flags: list[str], name: str) -> None:
    (site.home / "backup.tar.gz").write_text("an earlier backup")
    (site.home / "diary.txt").write_text("Dear diary")
    before = (site.home / name).read_bytes()
    done = await site.save("-f", "list.txt", *flags)
    assert done.status == 2
    assert name in done.err
    assert "write another name" in done.err
    assert (site.home / name).read_bytes() == before


async def test_an_archive_that_holds_more_stays_unless_it_is_to_be_replaced(site: Site) -> None:
    assert (await site.save("-f", "list.txt")).status == 0
    before = (site.home / "saved-images.tar.gz").read_bytes()
    [digest] = [one.digest for one in [await site.content.resolve("two", "2")] if one]
    site.content.remove("two", digest)
    done = await site.save("-f", "list.txt")
    assert done.status == 1
    rows = done.rows()
    kept = "saved-images.tar.gz holds more of these images than this run saved, and stays (--replace replaces it)"
    assert rows["kept"] == [kept]
    assert normal(rows["archive"][0], site).startswith("HOME/saved-images.incomplete.tar.gz, ")
    assert (await site.shell(rows["check"][0])).status == 0
    assert (site.home / "saved-images.tar.gz").read_bytes() == before
    replaced = await site.save("-f", "list.txt", "--replace")
    assert (replaced.status, "kept" in replaced.rows()) == (1, False)
    assert (site.home / "saved-images.tar.gz").read_bytes() != before


async def test_an_archive_whose_run_died_in_its_commit_is_finished_by_the_next_command(site: Site) -> None:
    assert (await site.save("-f", "list.txt", "--part", "--part-size", "200K")).status == 0
    files = sorted(path.name for path in site.home.glob("saved-images.tar.gz*"))
    run, renames = "12-ab", []
    for number, name in enumerate(files, 1):
        data = (site.home / name).read_bytes()
        source = f".saved-images.tar.gz.{run}.{number}.tmp"
        renames.append([source, name, len(data), hashlib.sha256(data).hexdigest()])
        if number > 1:
            (site.home / name).rename(site.home / source)
    record = {"version": 1, "run": run, "renames": renames, "removals": []}
    (site.home / f".saved-images.tar.gz.{run}.commit").write_text(json.dumps(record))
    verified = await site.run("verify", "saved-images.tar.gz")
    assert verified.status == 0, verified.err
    assert sorted(path.name for path in site.home.glob("*saved-images.tar.gz*")) == files
    assert not list(site.home.glob(".saved-images.tar.gz*"))


async def test_a_second_run_waits_for_the_commit_of_the_first_and_says_so(site: Site) -> None:
    lock = os.open(site.home, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    process = await asyncio.create_subprocess_exec(
        *command("save", "-f", "list.txt"), cwd=site.home, env=environment(site.home), stdout=-1, stderr=-1
    )
    assert process.stderr is not None
    said = b""
    while b"waiting for another process, which puts an archive in place in " not in said:
        piece = await process.stderr.read(4096)
        assert piece, said
        said += piece
    os.close(lock)
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert b"2 images" in out


@pytest.mark.parametrize("flags", [["-d", "x" * 300], ["-o", "x" * 300], ["-d", "x" * 300 + "/y", "-c", "dir"]])
async def test_a_name_that_the_system_refuses_is_a_usage_error(site: Site, flags: list[str]) -> None:
    done = await site.save("-f", "list.txt", *flags)
    assert done.status == 2
    assert "File name too long" in done.err
    assert "unexpected" not in done.err


async def test_a_layout_of_another_program_is_no_cache(site: Site) -> None:
    layout = site.home / "saved-image-cache"
    (layout / "blobs" / "sha256").mkdir(parents=True)
    (layout / "blobs" / "sha256" / ("0" * 64)).write_text("theirs")
    (layout / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    done = await site.save("-f", "list.txt")
    assert done.status == 2
    assert "name an empty or a new directory" in done.err
    assert (layout / "blobs" / "sha256" / ("0" * 64)).read_text() == "theirs"
    assert (layout / "index.json").read_text() == '{"schemaVersion": 2, "manifests": []}'


async def test_a_directory(site: Site) -> None:
    done = await site.save("-f", "list.txt", "-c", "dir", "-d", "all")
    assert (done.status, done.rows()["unpack"]) == (0, ["nothing: it is ready for use"])
    assert (site.home / "all" / "index.json").is_file()


@pytest.mark.parametrize(
    ("flags", "output"),
    [
        (["-d", "out"], "out.tar.gz"),
        (["-c", "zstd", "--part", "--part-size=100K", "-j", "3", "--compress-level", "1"], "saved-images.tar.zstd"),
        (["-c", "dir", "-d", "my mirror", "-a", "all", "-o", "bad.txt"], "my mirror"),
    ],
)
async def test_the_commands_that_are_shown_add_the_failed_images(site: Site, flags: list[str], output: str) -> None:
    site.list("team/one:1", "late:1", "two:2")
    first = await site.save("-f", "list.txt", *flags)
    rows = first.rows()
    assert first.status == 1
    assert rows["saved"] == ["2 of 3 images, 3 platforms; 1 failed"]
    assert normal(rows["failed"][0], site) == "line 2: REGISTRY/late:1: not found"
    failed = site.home / ("bad.txt" if "-o" in flags else "save-failed.txt")
    assert names_in(failed) == [f"{site.address}/late:1"]

    site.push("late", "1", image([layer({"late": b"1"})], ARM64))
    for line in rows["next"][1:]:
        done = await site.shell(line)
        assert (done.status, "failed" in done.rows()) == (0, False), done.err
    listed = json.loads((await site.run("ls", output, "--json")).out)
    assert {one["name"].removeprefix(f"{site.address}/") for one in listed["images"]} == {
        "team/one:1",
        "two:2",
        "late:1",
    }
    assert (await site.run("verify", output, "--quiet")) == Done(0, "", "")


async def test_nothing_saved(site: Site) -> None:
    site.list("gone:1")
    (site.home / "saved-images.tar.gz").write_text("earlier")
    done = await site.save("-f", "list.txt")
    assert done.status == 3
    assert done.rows()["output"] == ["nothing was saved; nothing was written"]
    assert (site.home / "saved-images.tar.gz").read_text() == "earlier"


async def test_a_token_of_another_type_is_told_by_its_field(site: Site) -> None:
    tokens = TokenServer()
    tokens.faults.add("/token", Status(200, body=b'{"token": "hidden", "expires_in": "300"}'))
    async with fake_registry(auth=tokens) as registry:
        (site.home / "list.txt").write_text(f"{registry.address}/app:1\n")
        done = await site.save("-f", "list.txt")
    assert "answered with other JSON: Expected `float | null`, got `str` - at `$.expires_in`" in done.err
    assert "tell the operator of the registry" in done.err + done.out
    assert "hidden" not in done.err + done.out


async def test_quiet_says_nothing_when_all_is_well(site: Site) -> None:
    assert await site.save("-f", "list.txt", "--quiet") == Done(0, "", "")


async def test_quiet_says_what_is_wrong(site: Site) -> None:
    site.list("gone:1", "two:2")
    done = await site.save("-f", "list.txt", "--quiet")
    lines = normal(done.err, site).splitlines()
    assert (done.status, done.out) == (1, "")
    assert lines[0].startswith("failed   REGISTRY/gone:1: not found: ")
    assert lines[1] == (
        "next       the failed lines are in save-failed.txt; to fetch these images, and make an archive of all:"
    )
    assert lines[2:] == [f"{'':11}hangar-async sync -f save-failed.txt", f"{'':11}hangar-async compress"]
    assert "Traceback" not in done.err


@pytest.mark.parametrize(("flags", "status"), [([], 1), (["--lenient"], 0)])
async def test_standard_input_is_a_list(site: Site, flags: list[str], status: int) -> None:
    done = await site.save("-f", "-", *flags, given=f"# two\r\n{site.address}/two:2\r\nno image\r\n".encode())
    assert done.status == status
    assert done.rows()["saved"] == ["1 image, 1 platform; 1 line invalid"]
    assert done.rows()["invalid"] == ["standard input:3: 'no image' has white space: write one image a line"]


async def test_a_byte_that_is_no_text_is_told_by_its_line(site: Site) -> None:
    done = await site.save("-f", "-", given=b"# gr\xf6\xdfe\ncaf\xe9:1\n" + f"{site.address}/two:2\n".encode())
    assert (done.status, done.rows()["saved"]) == (1, ["1 image, 1 platform; 1 line invalid"])
    assert done.rows()["invalid"] == [
        "standard input:2: the byte 0xe9 after 'caf' is not UTF-8: save the list as text in UTF-8"
    ]


async def test_a_list_of_yaml_is_told_line_by_line_as_it_should_be(site: Site) -> None:
    name = f"{site.address}/two:2"
    done = await site.save("-f", "-", given=f"{name}  # the newest\n- image: {name}\n".encode())
    assert (done.status, done.rows()["saved"]) == (1, ["1 image, 1 platform; 1 line invalid"])
    assert done.rows()["invalid"] == [
        f"standard input:2: '- image: {name}' is more than the name of an image: write {name}"
    ]


async def test_a_secret_that_cannot_be_sent_is_told_and_never_shown(site: Site) -> None:
    refused = await site.save("-f", "list.txt", "--debug", env={"SOURCE_PASSWORD": "hidden\n"})
    assert (refused.status, refused.out) == (2, "")
    assert "the value of SOURCE_PASSWORD has a line end" in refused.err
    (site.home / ".docker").mkdir()
    entries = {"127.0.0.1:9": {"registrytoken": "hid\nden"}}
    (site.home / ".docker" / "config.json").write_text(json.dumps({"auths": entries}))
    assert (await site.save("-f", "list.txt")).status == 0
    async with fake_registry(auth=TokenServer()) as registry:
        entries[registry.address] = entries.pop("127.0.0.1:9")
        (site.home / ".docker" / "config.json").write_text(json.dumps({"auths": entries}))
        names = f"{registry.address}/app:1\n{site.address}/two:2\n"
        failed = await site.save("-f", "-", "--debug", given=names.encode())
        assert len(registry.asked("/manifests/")) == 0
    assert failed.status == 1
    assert f"cannot use the entry '{registry.address}': the registry token from " in failed.err
    assert "hid" not in refused.err + failed.err


async def test_a_wrong_password_is_never_shown(site: Site) -> None:
    (site.home / ".docker").mkdir()
    async with fake_registry(auth=TokenServer({"me": "right"})) as registry:
        login = base64.b64encode(b"me:hush-wrong").decode()
        config = {"auths": {registry.address: {"auth": login}}}
        (site.home / ".docker" / "config.json").write_text(json.dumps(config))
        names = f"{registry.address}/app:1\n{site.address}/two:2\n"
        done = await site.save("-f", "-", "--debug", given=names.encode())
    assert done.status == 1
    assert "denies access" in done.err
    assert not [secret for secret in ("hush-wrong", login) if secret in done.out + done.err]


async def test_a_proxy_that_cannot_be_read_is_told_with_the_character_to_escape(site: Site) -> None:
    proxy = {"HTTPS_PROXY": "http://me:hidd#en@127.0.0.1:9"}
    done = await site.save("-f", "-", "--debug", env=proxy, given=f"reg.test/app:1\n{site.address}/two:2\n".encode())
    assert done.status == 1
    assert "cannot read the proxy address for reg.test: write %23 in place of '#' in its user name or" in done.err
    assert "hidd" not in done.out + done.err


@pytest.mark.parametrize(("jobs", "used"), [("0", "1"), ("100", "20")])
async def test_jobs_out_of_bounds_are_warned_of(site: Site, jobs: str, used: str) -> None:
    done = await site.save("-f", "list.txt", "-j", jobs, "--quiet")
    assert done == Done(0, "", f"warning  --jobs {jobs} is outside of 1 to 20: {used} is used\n")


async def test_debug_changes_nothing_but_what_is_said(site: Site) -> None:
    plain = await site.save("-f", "list.txt", "-d", "plain")
    loud = await site.call(*command("--debug", "save", "-f", "list.txt", "-d", "loud", "--tls-verify=false"))
    assert (plain.status, loud.status) == (0, 0)
    assert re.search(r"transport: GET http://127\.0\.0\.1:\d+/v2/[^ ]+: 200, after \d+ ms", loud.err)
    assert (site.home / "plain.tar.gz").read_bytes() == (site.home / "loud.tar.gz").read_bytes()


async def test_a_summary_that_nobody_reads_changes_no_status(site: Site) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = await asyncio.create_subprocess_exec(
        *command("save", "-f", "list.txt"), cwd=site.home, env=environment(site.home), stdout=writer, stderr=writer
    )
    os.close(writer)
    assert await process.wait() == 0
    assert (site.home / "saved-images.tar.gz").exists()


async def test_a_name_that_the_encoding_lacks_is_shown_escaped(site: Site) -> None:
    done = await site.save("-f", "list.txt", "-d", "имя", env={"PYTHONIOENCODING": "ascii"})
    assert done.status == 0
    assert done.rows()["archive"][0].split("/")[-1].startswith(r"\u0438\u043c\u044f.tar.gz, ")


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, site: Site, *arguments: str) -> None:
        self.shown = b""
        self.ended = asyncio.Event()
        self._site = site
        self._line = command("save", *arguments)
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> Terminal:
        self.screen, terminal = pty.openpty()
        env = environment(self._site.home, TERM="xterm-256color", COLUMNS="100", LINES="30")
        self.process = await asyncio.create_subprocess_exec(
            *self._line, cwd=self._site.home, env=env, stdin=terminal, stdout=terminal, stderr=terminal,
            start_new_session=True, preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(terminal)
        asyncio.get_running_loop().add_reader(self.screen, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self.screen)
        os.close(self.screen)
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def type(self, keys: bytes) -> None:
        os.write(self.screen, keys)

    def _read(self) -> None:
        try:
            data = os.read(self.screen, 65536)
        except OSError:
            data = b""
        self.shown += data
        if not data:
            asyncio.get_running_loop().remove_reader(self.screen)
            self.ended.set()


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


async def test_on_a_terminal_the_view_is_live_and_gone_at_the_end(site: Site) -> None:
    async with Terminal(site, "-f", "list.txt") as terminal:
        await terminal.ended.wait()
        assert await terminal.process.wait() == 0
    shown = terminal.shown.decode()
    live, _, summary = shown.rpartition("\x1b[?25h")
    assert "\x1b[?25l" in live
    assert "saved" in summary
    assert "\x1b[1mtime" in summary


async def test_control_c_on_a_terminal(site: Site) -> None:
    site.gate.clear()
    async with Terminal(site, "-f", "list.txt") as terminal:
        await site.waiting.wait()
        terminal.type(b"\x03")
        await terminal.ended.wait()
        assert await terminal.process.wait() == 130
    site.gate.set()
    # Behind the sequence that shows the cursor again come those that remove the live lines, then the line.
    end = re.sub(r"\x1b\[\d*[A-Z]", "", terminal.shown.decode().rpartition("\x1b[?25h")[2])
    assert end.strip().splitlines() == [
        "hangar-async: interrupted: what was fetched stays in the cache (once more ends at once)"
    ]


async def test_termination_in_the_middle_and_the_same_command_again(site: Site) -> None:
    site.gate.clear()
    process = await asyncio.create_subprocess_exec(
        *command("save", "-f", "list.txt", "--quiet"), cwd=site.home, env=environment(site.home), stderr=-1
    )
    await site.waiting.wait()
    process.send_signal(signal.SIGTERM)
    _, err = await process.communicate()
    site.gate.set()
    assert process.returncode == 143
    assert err.decode() == "hangar-async: terminated: what was fetched stays in the cache (once more ends at once)\n"
    assert sorted(path.name for path in site.home.iterdir()) == ["list.txt", "saved-image-cache"]
    assert await site.save("-f", "list.txt", "--quiet") == Done(0, "", "")


async def test_an_attestation_that_is_gone_is_a_note_and_no_failure(site: Site) -> None:
    built = image([layer({"app": b"app"})], ARM64)
    proof = attestation(built)
    site.push("attested", "1", index([built, proof]))
    site.content.remove("attested", proof.built.digest)
    site.list("attested:1")
    done = await site.save("-f", "list.txt")
    assert done.status == 0, done.err
    rows = done.rows()
    assert rows["left out"] == ["1 companion of images, such as attestations, that are gone"]
    assert len(rows["note"]) == 1
    assert "left out sha256:" in rows["note"][0]
    assert "not found at" in rows["note"][0]
    assert (await site.run("verify", "saved-images.tar.gz")).status == 0


@pytest.mark.parametrize(
    ("line", "most", "left_out"),
    [
        ("save -f list.txt -c dir -d new --quiet", 127, {*CODECS, READER, WRITER, PUSH, VALIDATE, SERVER}),
        ("save -f list.txt -d new.tar.gz --quiet", 138, {READER, PUSH, VALIDATE, SERVER}),
        ("sync -f list.txt -d new --quiet", 132, {*CODECS, READER, WRITER, PUSH, VALIDATE, SERVER}),
        ("load -s saved.tar.gz -d REGISTRY/copies --quiet", 148, {WRITER, PULL, VALIDATE, SERVER}),
        ("load-validate -s saved.tar.gz -d REGISTRY --quiet", 136, {WRITER, PULL, SERVER}),
        ("mirror REGISTRY/team/one:1 -d REGISTRY/copies --quiet", 140, MIRROR),
        ("mirror-validate REGISTRY/team/one:1 -d REGISTRY --quiet", 136, MIRROR),
        ("ls saved.tar.gz", 77, {HTTP, WRITER, PULL, PUSH, SERVER}),
        ("verify saved.tar.gz --quiet", 88, {HTTP, WRITER, PULL, PUSH, SERVER}),
        ("extract saved.tar.gz REGISTRY/team/one:1 -o new --quiet", 88, {HTTP, PULL, PUSH, SERVER}),
        ("compress -f saved-image-cache -d new.tar.gz --quiet", 95, {HTTP, PULL, PUSH, SERVER}),
        ("decompress -f saved.tar.gz -d new --quiet", 88, {HTTP, WRITER, PULL, PUSH, SERVER}),
        ("logout REGISTRY --quiet", 79, {*CODECS, READER, WRITER, PULL, PUSH, SERVER}),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else None,
)
async def test_a_command_loads_only_what_it_needs(
    pushable_registry: FakeRegistry, tmp_path: Path, line: str, most: int, left_out: set[str]
) -> None:
    """The first second of a command is spent on modules: at most so many of the package, and none of these."""
    pushable_registry.add("team/one:1", small("one"))
    (tmp_path / "list.txt").write_text(f"{pushable_registry.address}/team/one:1\n")
    assert (await call(tmp_path, *["save", "-f", "list.txt", "-d", "saved.tar.gz", "--quiet"])).status == 0
    words = line.replace("REGISTRY", pushable_registry.address).split()
    done = await run_words(tmp_path, sys.executable, "-c", LOADED, *words)
    assert (done.status, done.err) == (0, "")
    loaded = set(json.loads((tmp_path / "loaded.json").read_text()))
    assert loaded & (HEAVY | left_out) == set()
    assert len([name for name in loaded if name.startswith("hangar_async")]) <= most
