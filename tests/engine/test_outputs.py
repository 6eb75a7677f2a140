"""The outputs of a run: their checks, and temporary directories."""

import asyncio
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hangar_async import imagelist
from hangar_async.config.environment import Environment
from hangar_async.config.options import (
    CompressOptions,
    DecompressOptions,
    ExtractOptions,
    ListOptions,
    LoginOptions,
    LogoutOptions,
    VerifyOptions,
)
from hangar_async.config.output import OutputSettings
from hangar_async.disk import Disk
from hangar_async.engine.compress import compress, decompress
from hangar_async.engine.events import Event, Notice, Observer
from hangar_async.engine.extract import extract
from hangar_async.engine.load import load
from hangar_async.engine.login import login, logout
from hangar_async.engine.ls import ls
from hangar_async.engine.outputs import (
    check_directory,
    check_failed_list,
    check_file,
    check_outputs,
    check_target,
    failed_lines,
    state_files,
    temporary_directory,
    write_failed_list,
)
from hangar_async.engine.save import sync
from hangar_async.engine.verify import verify
from hangar_async.errors import NotFound, StorageError, UsageError
from hangar_async.temporary import LONGEST_ADDITION, run_of
from hangar_async.threads import in_thread
from tests.engine.forms import Saved
from tests.engine.loading import load_options
from tests.engine.rig import run, sync_options
from tests.fakes.faults import Status
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry


async def test_a_temporary_directory_is_removed_when_its_making_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, go_on = threading.Event(), threading.Event()
    make = Disk.make_directory

    def slow(disk: Disk, path: Path, mode: int = 0o755) -> None:
        make(disk, path, mode)
        made.set()
        go_on.wait(20)

    monkeypatch.setattr(Disk, "make_directory", slow)

    async def use() -> None:
        async with temporary_directory(tmp_path, "x", Disk()):
            pytest.fail("the block must not run")

    task = asyncio.create_task(use())
    await asyncio.to_thread(made.wait, 20)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


async def test_temporary_directories_at_the_same_time_have_different_names(tmp_path: Path) -> None:
    async with temporary_directory(tmp_path, "x", Disk()) as one, temporary_directory(tmp_path, "x", Disk()) as other:
        (one / "file").write_text("kept until the end of the block")
        assert one != other
        assert {path.stat().st_mode & 0o777 for path in (one, other)} == {0o700}
    assert list(tmp_path.iterdir()) == []


async def test_a_temporary_directory_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*/gone: No such file"):
        async with temporary_directory(tmp_path / "gone", "x", Disk()):
            pytest.fail("the block must not run")


@pytest.mark.parametrize(
    ("output", "other"),
    [
        ("list.txt", "list.txt"),
        ("sub/../list.txt", "list.txt"),
        ("link.txt", "list.txt"),
        ("list.txt", "link.txt"),
        ("hard.txt", "list.txt"),
        ("q.tar.gz", "q.tar.gz.part0"),
        ("q.tar.gz.sha256", "q.tar.gz"),
        ("q.tar.gz.part07", "q.tar.gz"),
        ("alias/list.txt", "list.txt"),
        ("dangling", "list.new"),
    ],
)
def test_an_output_that_names_an_input_or_another_output_is_refused(tmp_path: Path, output: str, other: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "list.txt").write_text("reg.example.com/a:1\n")
    (tmp_path / "link.txt").symlink_to("list.txt")
    os.link(tmp_path / "list.txt", tmp_path / "hard.txt")
    (tmp_path / "alias").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to("list.new")
    first, second = tmp_path / output, tmp_path / other
    with pytest.raises(UsageError, match="would replace"):
        check_outputs([first], [second])
    with pytest.raises(UsageError, match="would replace"):
        check_outputs([tmp_path / "free", first, None, second], [])
    check_outputs([first, None], ["reg.example.com/a:1", None, tmp_path / "another"])


def test_a_state_takes_the_names_of_its_lock_and_journal(tmp_path: Path) -> None:
    for name in ("state", "state.lock", "state-journal"):
        with pytest.raises(UsageError, match="would replace"):
            check_outputs([*state_files(tmp_path / "state"), tmp_path / name], [])
    assert state_files(None) == []


@pytest.mark.parametrize("path", ["/", ".", "..", ".sha256", "/.sha256"])
def test_a_path_without_a_name_of_its_own_is_compared_too(tmp_path: Path, path: str) -> None:
    check_outputs([tmp_path / "out"], [Path(path)])
    with pytest.raises(UsageError, match="would replace"):
        check_outputs([Path(path)], [Path(path)])


@pytest.mark.parametrize("name", ["failed.txt", "save-failed.txt", "load-validate-failed.txt"])
async def test_a_list_of_failed_images_may_be_replaced_and_removed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    notices: list[str] = []
    await in_thread(check_failed_list, path)
    assert await write_failed_list(path, ["reg.example.com/a:1"], notices.append, Disk()) == path
    await in_thread(check_failed_list, path)
    assert await write_failed_list(path, [], notices.append, Disk()) is None
    assert list(tmp_path.iterdir()) == []
    assert notices == []


def test_the_reasons_stand_in_the_list_as_comments() -> None:
    gone = NotFound("no image\nhere\x1b[2J", host="h", status=404, advice="look")
    lines = list(failed_lines([("a:1", gone), ("b:1", None), ("c:1", gone), ("d:1", UsageError("no"))]))
    assert lines == [r"# not found: no image here\x1b[2J; look", "a:1", "c:1", "# usage: no", "d:1"]
    assert [entry.text for entry in imagelist.parse(lines).entries] == ["a:1", "c:1", "d:1"]


async def test_a_list_names_files_with_any_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"list \xff.txt")
    await write_failed_list(tmp_path / "failed.txt", [f"# {name}:3: no image"], print, Disk())
    assert (tmp_path / "failed.txt").read_bytes() == b"# hangar-async failed images\n# list \xff.txt:3: no image\n"
    await in_thread(check_failed_list, tmp_path / "failed.txt")


@pytest.mark.parametrize("lines", [[], ["reg.example.com/a:1"]])
async def test_a_list_that_cannot_be_written_or_removed_is_a_notice(
    tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images are in the output: the status of the run is theirs."""

    def fail(*arguments: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), "x")

    (tmp_path / "failed.txt").write_text("# hangar-async failed images\n")
    monkeypatch.setattr(os, "unlink", fail)
    monkeypatch.setattr(os, "rename", fail)
    monkeypatch.setattr(os, "replace", fail)
    notices: list[str] = []
    assert await write_failed_list(tmp_path / "failed.txt", lines, notices.append, Disk()) is None
    assert len(notices) == 1
    assert "Operation not permitted" in notices[0]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("notes.txt", b"reg.example.com/a:1\n"),
        ("save-failed.txt", b"reg.example.com/a:1\nDear diary, today\n"),
        ("save-failed.txt", bytes(range(256))),
        ("other-failed.txt", b"reg.example.com/a:1\n"),
        ("index.json", b'{"schemaVersion": 2}'),
        ("empty", b""),
    ],
)
def test_another_file_under_the_name_of_the_list_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match="is no list of failed images"):
        check_failed_list(tmp_path / name)
    assert (tmp_path / name).read_bytes() == data


def test_a_default_list_without_the_first_line_is_taken(tmp_path: Path) -> None:
    """Earlier releases wrote no first line."""
    path = tmp_path / "load-failed.txt"
    path.write_text("reg.example.com/a:1\nreg.example.com/b:1\n")
    check_failed_list(path)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/full"])
def test_a_device_is_no_list(path: str) -> None:
    with pytest.raises(UsageError, match="is no regular file"):
        check_failed_list(Path(path))


@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}/y"])
def test_a_path_that_the_system_refuses_is_a_usage_error(tmp_path: Path, name: str) -> None:
    path, refused = tmp_path / name, r"cannot use .*: File name too long"
    with pytest.raises(UsageError, match=refused):
        check_failed_list(path)
    for directory in (True, False):
        with pytest.raises(UsageError, match=refused):
            check_target(path, directory=directory)


@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_name_that_leaves_no_room_for_temporary_names_is_refused_before_work(letter: str, tmp_path: Path) -> None:
    most = 226 // len(letter.encode())
    fits, exceeds = tmp_path / (letter * most), tmp_path / (letter * (most + 1))
    check_target(fits, directory=False)
    check_target(fits, directory=True)
    check_failed_list(fits)
    checks: list[Callable[[], object]] = [
        partial(check_target, exceeds, directory=directory) for directory in (False, True)
    ]
    checks.append(partial(check_failed_list, exceeds))
    for check in checks:
        with pytest.raises(UsageError, match="at most 226 leave room for temporary names"):
            check()


def test_the_longest_name_has_room_for_all_temporary_names(tmp_path: Path) -> None:
    (tmp_path / f".{'x' * (255 - LONGEST_ADDITION)}.4194304-00000000.999999.tmp").touch()
    assert run_of(".x.4194304-00000000.999999.tmp", "x") == "4194304-00000000"


#: The outputs of the verbs by the names of their links.
_LINKS = ("one.tar", "parts.tar", "tree", "cache", "failed.txt", "packed.tar", "unpacked", "layout", "docker.tar")


async def _make_all(root: Path, line: str) -> None:
    """Write every output of the verbs that need no other registry, through the names of `_LINKS`."""
    lines = (line, f"{line}.not-there")
    saved: list[tuple[str, dict[str, Any]]] = [
        ("one.tar", {"format": "gzip"}),
        ("parts.tar", {"format": "zstd", "part_size": 2_000}),
        ("tree", {"format": "dir", "cache": root / "own-cache"}),
    ]
    for name, values in saved:
        assert (await run(root, *lines, destination=root / name, **values)).output is not None
    await sync(sync_options(root, line, cache=root / "cache", failed=None))
    await compress(CompressOptions(cache=root / "cache", output=OutputSettings(target=root / "packed.tar")))
    await decompress(DecompressOptions(archive=root / "parts.tar", destination=root / "unpacked"))
    for name, kind in (("layout", "oci"), ("docker.tar", "docker-archive")):
        await extract(
            ExtractOptions(
                source=root / "one.tar", image=line, destination=root / name, format=kind, platform="linux/amd64"
            )
        )


@pytest.mark.parametrize("earlier", ["none", "dangling", "there"])
async def test_an_output_is_written_to_what_its_link_leads_to(
    fake_registry: FakeRegistry, tmp_path: Path, earlier: str
) -> None:
    fake_registry.add("one:1", small("one"))
    line = f"{fake_registry.address}/one:1"
    work, disk, shelf = (tmp_path / name for name in ("work", "disk", "shelf"))
    for directory in (work, disk, shelf):
        directory.mkdir()
    for name in _LINKS:
        # Over two links, one of them relative.
        (work / name).symlink_to(f"../shelf/{name}")
        (shelf / name).symlink_to(disk / f"real-{name}")
    if earlier == "there":
        for name in ("tree", "unpacked", "layout"):
            (disk / f"real-{name}").mkdir()
        for name in ("one.tar", "packed.tar", "docker.tar"):
            (disk / f"real-{name}").write_bytes(b"old")
        (disk / "real-failed.txt").write_text("# hangar-async failed images\n")
    elif earlier == "none":
        for name in _LINKS:
            (work / name).unlink()
        disk = work
    prefix = "" if earlier == "none" else "real-"
    await _make_all(work, line)
    for name in _LINKS:
        assert (work / name).is_symlink() == (earlier != "none")
    assert all((shelf / name).is_symlink() for name in _LINKS)
    for name in ("one.tar", "packed.tar", "parts.tar"):
        assert (disk / f"{prefix}{name}.sha256").is_file()
        for path in (work / name, disk / f"{prefix}{name}"):
            assert not (await verify(VerifyOptions(path))).problems
    for name in ("tree/index.json", "cache/index.json", "unpacked/index.json", "layout/index.json", "docker.tar"):
        assert (disk / f"{prefix}{name}").is_file()
    assert "not-there" in (disk / f"{prefix}failed.txt").read_text()
    assert not [name for place in (work, disk, shelf) for name in os.listdir(place) if name.endswith(".tmp")]
    await run(work, line, destination=work / "one.tar", format="gzip")
    assert not (disk / f"{prefix}failed.txt").exists()
    assert (work / "failed.txt").is_symlink() == (earlier != "none")


@pytest.mark.parametrize("flag", ["directory", "file"])
@pytest.mark.parametrize("name", ["circle", "circle/below", "file/below", "none/below", "link/below", "x" * 300])
def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path, name: str, flag: str) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "link").symlink_to("none")
    (tmp_path / "file").write_text("")
    path = tmp_path / name
    checks: list[Callable[[], object]] = [
        partial(check_target, path, directory=flag == "directory"),
        partial(check_failed_list, path),
    ]
    if not name.startswith("none"):
        # It is made with those above it.
        checks.append(partial(check_directory, path, "-d"))
        checks.append(partial(check_file, path, "the file of logins"))
    for check in checks:
        with pytest.raises(UsageError, match=r"cannot use|no directory|does not exist") as refused:
            check()
        assert refused.value.advice or ":" in str(refused.value)


async def test_a_file_system_without_locks_is_told_once_by_each_command(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_file = os.fsync

    def sync_no_directory(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync_file(descriptor)

    def lock_nothing(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(os, "fsync", sync_no_directory)
    monkeypatch.setattr(fcntl, "flock", lock_nothing)
    source, cache = everything.at("gzip"), everything.copy("dir", tmp_path)
    registry = pushable_registry.address
    name = (await ls(ListOptions(source))).images[0].name
    environment = Environment(login_file=tmp_path / ".docker" / "config.json")
    output = OutputSettings(target=tmp_path / "packed.tar")
    # Each image is refused, so that there is a list of them too.
    pushable_registry.fail("/manifests/", Status(403), times=None)

    def extracting(form: str) -> ExtractOptions:
        target = tmp_path / form
        return ExtractOptions(source=source, image=name, destination=target, format=form, platform="linux/amd64")

    async def loading(observe: Observer) -> None:
        options = load_options(tmp_path, everything.at("hangar-gzip"), registry, failed=tmp_path / "failed.txt")
        assert (await load(options, observe)).failed_list is not None

    commands: dict[str, Callable[[Observer], Awaitable[object]]] = {
        "compress": lambda observe: compress(CompressOptions(cache=cache, output=output), observe),
        "decompress": lambda observe: decompress(
            DecompressOptions(archive=source, destination=tmp_path / "unpacked"), observe
        ),
        "extract": lambda observe: extract(extracting("oci"), observe),
        "extract-tar": lambda observe: extract(extracting("docker-archive"), observe),
        "load": loading,
        "login": lambda observe: login(LoginOptions(registry, "user", "secret", environment), observe),
        "logout": lambda observe: logout(LogoutOptions(registry, environment), observe),
    }
    told: dict[str, list[str]] = {}
    for command, start in commands.items():
        events: list[Event] = []
        await start(events.append)
        texts = [event.text for event in events if isinstance(event, Notice)]
        told[command] = [word for text in texts for word in ("has no locks", "cannot sync") if word in text]
    assert {command: sorted(words) for command, words in told.items()} == {
        command: ["cannot sync", "has no locks"] for command in commands
    }
