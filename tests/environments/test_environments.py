"""All work of the program in environments as people have them, as real processes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hangar_async.config.options import VerifyOptions
from hangar_async.engine.verify import verify
from tests.cli.view.rig import full_pipe
from tests.environments.rig import Machine, as_user, need, prepare, python_for, shell
from tests.fakes.auth import Basic
from tests.fakes.faults import Hold
from tests.fakes.images import small
from tests.fakes.registry import fake_registry

LONG = "x" * 300


async def test_a_user_without_a_name_or_a_home(machine: Machine, place: Path) -> None:
    need(*as_user(), "true")
    home = place / "root"
    (home / ".docker").mkdir(parents=True)
    (home / ".docker" / "config.json").write_text("{}")
    home.chmod(0o700)
    other = machine.with_(before=(*as_user(), "env", f"HOME={home}"), python=python_for(as_user()))
    done = await other.all_work()
    assert "config.json" in done["save"].err
    assert (other.home / other.archive).stat().st_uid != os.getuid()


_REFUSED: tuple[tuple[tuple[str, ...], str], ...] = (
    (("save", "-f", "list.txt", "-d", "shut/in/out.tar.gz"), "Permission denied"),
    (("save", "-f", "list.txt", "-o", "shut/in/failed.txt"), "Permission denied"),
    (("save", "-f", "shut/in/list.txt"), "Permission denied"),
    (("sync", "-f", "list.txt", "-d", "shut/in/mirror"), "Permission denied"),
    (("sync", "-f", "list.txt", "-d", f"{LONG}/mirror"), "File name too long"),
    (("ls", "shut/in"), "Permission denied"),
    (("demo", "shut/in"), "Permission denied"),
)


async def test_a_directory_that_may_not_be_entered(machine: Machine) -> None:
    need(*as_user(), "true")
    (machine.home / "shut" / "in").mkdir(parents=True)
    (machine.home / "shut").chmod(0o700)
    other = machine.with_(before=as_user(), python=python_for(as_user()))
    done = await asyncio.gather(*(other.run(*words) for words, _ in _REFUSED))
    for (words, reason), one in zip(_REFUSED, done, strict=True):
        assert one.status == (3 if words[0] == "ls" else 2), words
        line = one.err.splitlines()[-1]
        assert (reason in line, "report it" in line) == (True, False), line


#: Runs command lines in one process, as argv[1] names them, and writes their statuses and last lines.
_COMMANDS = """
import io, json, os, sys
from hangar_async.cli import main
done, shown = [], sys.stdout
for words, directory in json.loads(sys.argv[1]):
    os.environ["DOCKER_CONFIG"] = directory if words[0].startswith("log") else "none"
    sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(b"secret")), io.StringIO(), io.StringIO()
    errors = sys.stderr
    try:
        main.run(words)
    except SystemExit as ended:
        done.append((ended.code, errors.getvalue()))
shown.write(json.dumps(done))
"""
_BAD = {
    "none/x": "the directory none does not exist",
    "file/x": "is no directory|Not a directory",
    "shut/x": "cannot be written|Permission denied",
    "fixed/x": "cannot be written",
    "blind/x": "cannot be listed",
    LONG: "File name too long|has more than 255 bytes",
    "circle.x": "Too many levels of symbolic links",
}
#: The output of each verb; `{}` is its path.
_OUTPUTS = (
    "save -f list.txt -d {}",
    "save -f list.txt -c dir -d {}",
    "save -f list.txt -o {}",
    "sync -f list.txt -o {}",
    "sync -f list.txt -d {}",
    "load -s out.tar.gz -d REGISTRY/back -o {}",
    "load-validate -s out.tar.gz -d REGISTRY/back -o {}",
    "compress -f mirror -d {}",
    "decompress -f out.tar.gz -d {}",
    "extract out.tar.gz REGISTRY/one:1 -o {}",
    "extract out.tar.gz REGISTRY/one:1 --format docker-archive --platform linux/amd64 -o {}",
    "merge out.tar.gz -d {}",
    "convert-list -i list.txt -o {} -d REGISTRY",
    "mirror -f list.txt -d REGISTRY/back -o {}",
    "mirror -f list.txt -d REGISTRY/back --state {}",
    "mirror -f list.txt -d REGISTRY/back --report {}",
    "mirror -c jobs.yaml -o {}",
    "mirror -c jobs.yaml --state {}",
    "mirror -c jobs.yaml --plan-out {}",
    "save --config jobs.yaml -d {}",
    "save --config jobs.yaml --report {}",
    "verify out.tar.gz --report {}",
    "report merge report.json -o {}",
    "report merge report.json -o new.json --failed {}",
    "login REGISTRY --username user --password-stdin",
    "logout REGISTRY",
    "demo {}",
)
#: These directories are made with those above them, and nothing but them is listed.
_MADE = ("sync -f list.txt -d {}", "login", "logout", "demo")


async def test_outputs_that_cannot_be_written_are_refused_before_work(machine: Machine) -> None:
    need(*as_user(), "true")
    job = f"{{name: a, from: {machine.registry.address}/one, to: '{machine.registry.address}/{{repository}}'}}"
    (machine.home / "jobs.yaml").write_text(f"version: 1\njobs: [{job}]\n")
    for one in (
        await machine.run("save", "-f", "list.txt", "-d", "out.tar.gz", "--report", "report.json"),
        await machine.run("sync", "-f", "list.txt", "-d", "mirror"),
    ):
        assert one.status == 0, one.err
    subprocess.run(["chmod", "-R", "a+rwX", str(machine.home)], check=True)
    for name, mode in (("shut", 0o700), ("fixed", 0o755), ("blind", 0o733)):
        (machine.home / name).mkdir()
        (machine.home / name).chmod(mode)
    (machine.home / "file").touch()
    (machine.home / "circle.x").symlink_to("circle.x")
    before = {path: path.lstat().st_mtime_ns for path in machine.home.rglob("*")}
    asked = len(machine.registry.requests)
    cases = [
        (output.replace("REGISTRY", machine.registry.address).format(path).split(), path)
        for output in _OUTPUTS
        for path in _BAD
        if not (output.startswith(_MADE) and path in ("none/x", "blind/x"))
    ]
    other = machine.with_(before=as_user(), python=python_for(as_user()), start=("-c", _COMMANDS))
    done = await other.run(json.dumps(cases))
    results = json.loads(done.out or "[]")
    assert len(results) == len(cases), done.err
    for (words, path), (status, text) in zip(cases, results, strict=True):
        line = text.splitlines()[-1]
        assert (status, bool(re.search(_BAD[path], line)), "report it" in line) == (2, True, False), (words, text)
    assert len(machine.registry.requests) == asked
    assert {path: path.lstat().st_mtime_ns for path in machine.home.rglob("*")} == before


async def test_an_archive_in_a_directory_that_may_be_entered_and_not_listed(machine: Machine) -> None:
    need(*as_user(), "true")
    place = machine.home / "closed"
    place.mkdir()
    for name, flags in (("one", ()), ("more", ("--part", "--part-size", "4K"))):
        done = await machine.run("save", "-f", machine.images, "-d", f"closed/{name}.tar.gz", *flags)
        assert done.status == 0, done.err
    (place / "alone.tar.gz").write_bytes((place / "one.tar.gz").read_bytes())
    for path in place.glob("more.tar.gz.part*"):
        (place / path.name.replace("more", "unlisted")).write_bytes(path.read_bytes())
    place.chmod(0o711)
    names = ("one.tar.gz", "more.tar.gz", "more.tar.gz.part1", "alone.tar.gz", "unlisted.tar.gz", "none.tar.gz")
    cases = [(["verify" if number < 4 else "ls", f"closed/{name}"], "") for number, name in enumerate(names)]
    other = machine.with_(before=as_user(), python=python_for(as_user()), start=("-c", _COMMANDS))
    results = json.loads((await other.run(json.dumps(cases))).out)
    assert [status for status, _ in results] == [0, 0, 0, 0, 3, 3]
    for _, text in results[4:]:
        assert "cannot read closed: Permission denied" in text
        assert "let the directory be listed (chmod u+r)" in text


async def test_a_read_only_root_with_one_volume(machine: Machine) -> None:
    before = ("unshare", "-m", *shell(_READ_ONLY.format(home=shlex.quote(str(machine.home)))))
    need(*before, "true")
    done = await machine.with_(before=(*before, "sh", "-c", 'cd "$0"; exec "$@"', str(machine.home))).all_work()
    assert "warning" not in done["save"].err


_READ_ONLY = """set -e
mount --bind {home} {home}
mount -o remount,ro,bind /
for place in /tmp /var/tmp /dev/shm; do if mountpoint -q $place; then mount -o remount,ro,bind $place; fi; done"""


async def test_64_open_files(machine: Machine) -> None:
    done = await machine.with_(before=shell("ulimit -n 64")).all_work("--part", "--part-size", "4K", "-j", "20")
    assert "ulimit -n allows no more open files" in done["save"].err


async def test_a_limit_of_processes(machine: Machine) -> None:
    # Of a user of its own: the processes of other tests count too.
    user = as_user(54_322)
    need(*user, "prlimit", "--nproc=100", "true")
    python = python_for(user)
    few = machine.with_(before=(*user, "prlimit", "--nproc=8"), python=python, jobs=1)
    await few.all_work()
    none = machine.with_(before=(*user, "prlimit", "--nproc=1"), python=python)
    done = await none.run("verify", none.archive)
    assert done.status == 3
    assert done.err.splitlines()[-1].startswith("hangar-async: the system starts no more threads (ulimit -u, ")


async def test_closed_streams(machine: Machine) -> None:
    done = await machine.with_(before=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")).all_work()
    assert {one.out + one.err for one in done.values()} == {""}


async def test_a_standard_error_that_nobody_reads(machine: Machine) -> None:
    with full_pipe() as (_, stream):
        done = await machine.with_(jobs=3).all_work(stderr=stream.fileno())
    assert "2 images" in done["save"].out


async def test_a_standard_output_that_nobody_reads(machine: Machine) -> None:
    """The summary waits for its reader, as that of every program; the work is done, and a signal ends the wait."""
    with full_pipe() as (_, stream):
        async with machine.running("save", "-f", machine.images, "-d", machine.archive, stdout=stream.fileno()) as one:
            while not _is_whole(machine):  # noqa: ASYNC110 - by another process
                await asyncio.sleep(0.02)
            while one.returncode is None:
                # Not by the object of the process: its look at the process would take the status.
                os.kill(one.pid, signal.SIGTERM)
                await asyncio.sleep(0.02)
    # The last one of the signals may come when the program no longer takes them.
    assert one.returncode in (143, -signal.SIGTERM)
    assert not (await verify(VerifyOptions(machine.home / machine.archive))).problems


def _is_whole(machine: Machine) -> bool:
    """Tell whether the archive is in place, and nothing of its run is left."""
    names = os.listdir(machine.home)
    return f"{machine.archive}.sha256" in names and not any(name.endswith((".tmp", ".commit")) for name in names)


async def test_streams_on_a_full_disk(machine: Machine) -> None:
    with Path("/dev/full").open("w") as full:
        done = await asyncio.gather(
            machine.run("save", "-f", machine.images, "-d", machine.archive, stdout=full.fileno()),
            machine.run("sync", "-f", machine.images, "-d", machine.mirror, stderr=full.fileno()),
        )
        assert [one.status for one in done] == [0, 0]
        assert done[0].err.endswith("warning: cannot write standard output: No space left on device\n")
        for words in (("ls",), ("ls", "--json"), ("ls", "--quiet")):
            listing = await machine.run(*words, machine.archive, stdout=full.fileno())
            assert (listing.status, "cannot write standard output" in listing.err) == (3, True)
    assert not (await verify(VerifyOptions(machine.home / machine.archive))).problems


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_run_whose_standard_error_nobody_reads(machine: Machine, number: signal.Signals) -> None:
    hold = Hold(asyncio.Event())
    machine.registry.fail("/blobs/", hold)
    with full_pipe() as (_, stream):
        async with machine.running("save", "-f", machine.images, stderr=stream.fileno()) as one:
            await hold.reached.wait()
            os.kill(one.pid, number)
            await one.wait()
    assert one.returncode == 128 + number


async def test_names_of_any_bytes_in_the_language_c(machine: Machine) -> None:
    names = {
        kind: os.fsdecode(f"{kind} \xff".encode("latin-1") + "\n\u00e4".encode()) for kind in ("out", "mirror", "list")
    }
    (machine.home / "list.txt").rename(machine.home / names["list"])
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    other = machine.with_(env=plain, archive=f"{names['out']}.tar.gz", mirror=names["mirror"], images=names["list"])
    done = await other.all_work()
    assert "out \\udcff" in done["ls"].out


async def test_links_everywhere(machine: Machine, place: Path) -> None:
    real = place / "real"
    for name in ("work", "cache", "mirror", "archives"):
        (real / name).mkdir(parents=True)
    home = place / "linked"
    home.symlink_to(real / "work")
    prepare(real / "work", machine.registry)
    (home / "list.txt").rename(place / "the-list.txt")
    (home / "list.txt").symlink_to(place / "the-list.txt")
    (home / "saved-image-cache").symlink_to(real / "cache")
    (home / "mirror").symlink_to(real / "mirror")
    (home / "archives").symlink_to(real / "archives")
    other = machine.with_(home=home, archive="archives/out.tar.gz")
    await other.all_work()
    for name in ("mirror", "archives", "list.txt", "saved-image-cache"):
        assert (home / name).is_symlink()
    assert (real / "archives" / "out.tar.gz").is_file()
    assert (real / "cache" / "index.json").is_file()
    done = await other.run("save", "-f", "list.txt", "-c", "dir", "-d", "archives/tree")
    assert (done.status, (real / "archives" / "tree" / "index.json").is_file()) == (0, True)


@contextmanager
def bindfs(source: Path, target: Path) -> Iterator[None]:
    need("bindfs", "--version")
    if subprocess.run(["bindfs", str(source), str(target)], capture_output=True, check=False).returncode:
        pytest.skip("bindfs cannot mount here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)


async def test_a_file_system_of_fuse(machine: Machine, place: Path) -> None:
    target = place / "fuse"
    target.mkdir()
    with bindfs(machine.home, target):
        other = machine.with_(home=target)
        await other.all_work()
        done = await other.run("save", "-f", other.images, "-c", "dir", "-d", "tree")
        assert (done.status, (target / "tree" / "index.json").is_file()) == (0, True)


async def test_the_first_process_of_a_container(place: Path) -> None:
    """A credential helper leaves a process that outlives it, which becomes a child of ours, and then a zombie."""
    before = ("unshare", "-p", "-f", "--mount-proc")
    need(*before, "true")
    home = place / "work"
    (home / ".docker").mkdir(parents=True)
    helper = home / "docker-credential-leaves"
    said = json.dumps({"ServerURL": "x", "Username": "user", "Secret": "secret"})
    helper.write_text(
        f"#!/bin/sh\nread -r server\n(sleep 0.05 >&- 2>&- &)\necho '{said}'\necho $PPID >> {home}/parents\n"
    )
    helper.chmod(0o755)
    async with fake_registry(auth=Basic({"user": "secret"}), pushable=True) as registry:
        for name in ("one", "two"):
            registry.add(f"{name}:1", small(name))
        settings = {"credHelpers": {registry.address: "leaves"}}
        (home / ".docker" / "config.json").write_text(json.dumps(settings))
        machine = prepare(home, registry).with_(before=before)
        await machine.with_(env={"PATH": f"{home}{os.pathsep}{os.environ['PATH']}"}).all_work()
    assert set((home / "parents").read_text().split()) == {"1"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_credential_helper_that_outlives_a_run_holds_none_of_its_locks(
    place: Path, number: signal.Signals
) -> None:
    home = place / "work"
    (home / ".docker").mkdir(parents=True)
    (home / "known").mkdir()
    helper, asked = home / "docker-credential-stays", home / "asked"
    helper.write_text(f"#!/bin/sh\nreadlink /proc/$$/fd/* > {home}/files\necho $$ > {asked}.new\n")
    with helper.open("a") as script:
        script.write(f"mv {asked}.new {asked}\nexec sleep 600\n")
    helper.chmod(0o755)
    async with fake_registry(auth=Basic({"user": "secret"})) as registry:
        for name in ("one", "two"):
            registry.add(f"{name}:1", small(name))
        login = {"auth": base64.b64encode(b"user:secret").decode()}
        (home / ".docker" / "config.json").write_text(json.dumps({"credHelpers": {registry.address: "stays"}}))
        (home / "known" / "config.json").write_text(json.dumps({"auths": {registry.address: login}}))
        machine = prepare(home, registry).with_(env={"PATH": f"{home}{os.pathsep}{os.environ['PATH']}"})
        words = ("save", "-f", machine.images, "-d", machine.archive)
        async with machine.running(*words) as process:
            while not asked.exists():  # noqa: ASYNC110 - by another process
                await asyncio.sleep(0.02)
            os.kill(process.pid, number)
            await process.wait()
        kept = int(asked.read_text())
        if number == signal.SIGKILL:
            assert _is_running(kept)
        else:
            assert not _is_running(kept)
        try:
            done = await machine.with_(env={"DOCKER_CONFIG": str(home / "known")}).run(*words)
        finally:
            with suppress(ProcessLookupError):
                os.kill(kept, signal.SIGKILL)
    assert done.status == 0, done.err
    assert not [name for name in os.listdir(home) if name.endswith(".tmp")]
    assert str(home) not in (home / "files").read_text().replace(f"{home}/files", "").replace(str(helper), "")


def _is_running(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


_LACKING = """
import errno, fcntl, os, stat
sync = os.fsync

def sync_no_directory(descriptor):
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    sync(descriptor)

def lock_nothing(descriptor, operation):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

os.fsync, fcntl.flock = sync_no_directory, lock_nothing
from hangar_async.cli.main import run
run()
"""


async def test_no_locks_and_no_sync_of_directories(machine: Machine) -> None:
    done = await machine.with_(start=("-c", _LACKING)).all_work()
    for name in ("save", "sync"):
        assert done[name].err.count("has no locks: two runs must not use one cache") == 1
        assert done[name].err.count("cannot sync directories") == 1


async def test_a_clock_before_1970(machine: Machine) -> None:
    clock = ("faketime", "1969-12-01 00:00:00")
    need(*clock, "true")
    other = machine.with_(before=clock)
    assert (await other.run("save", "-f", other.images, "-d", other.archive)).status == 0
