from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import pty
from pathlib import Path

import pytest

from tests.cli.commands.rig import SECRET
from tests.cli.conftest import Program
from tests.cli.programs import command, environment
from tests.cli.site import Done
from tests.fakes.credential_helpers import Helpers
from tests.fakes.docker_registry import PASSWORD, USERNAME
from tests.fakes.registry import FakeRegistry, fake_registry
from tests.registry.rig import Proxy


async def call(home: Path, *words: str, given: bytes = b"", **env: str) -> Done:
    process = await asyncio.create_subprocess_exec(
        *command(*words), cwd=home, env=environment(home, **env), stdin=-1, stdout=-1, stderr=-1
    )
    out, err = await process.communicate(given)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


def kept(path: Path) -> dict[str, str]:
    """The stored registry and login."""
    auths = json.loads(path.read_text())["auths"]
    return {key: base64.b64decode(entry["auth"]).decode() for key, entry in auths.items()}


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
async def test_login_and_logout(password_registry: FakeRegistry, tmp_path: Path, end: bytes) -> None:
    path = tmp_path / ".docker" / "config.json"
    flags = ("login", password_registry.address, "-u", "me", "--password-stdin")
    done = await call(tmp_path, *flags, given=SECRET.encode() + end)
    assert done == Done(0, f"ok         {password_registry.address}: kept in {path}\n", "")
    assert kept(path) == {password_registry.address: f"me:{SECRET}"}
    assert path.stat().st_mode & 0o777 == 0o600
    gone = await call(tmp_path, "logout", password_registry.address)
    assert gone == Done(0, f"ok         {password_registry.address}: forgotten\n", "")
    assert kept(path) == {}
    again = await call(tmp_path, "logout", password_registry.address)
    assert again == Done(0, f"ok         {password_registry.address}: nothing was kept\n", "")
    assert await call(tmp_path, "--quiet", "logout", password_registry.address) == Done(0, "", "")


async def test_a_kept_login_is_used(password_registry: FakeRegistry, tmp_path: Path) -> None:
    home = tmp_path / "docker"
    flags = ("login", password_registry.address, "--username=me", "--password-stdin", "--quiet")
    assert await call(tmp_path, *flags, given=SECRET.encode(), DOCKER_CONFIG=str(home)) == Done(0, "", "")
    (tmp_path / "list.txt").write_text(f"{password_registry.address}/app:v1\n")
    done = await call(tmp_path, "save", "-f", "list.txt", DOCKER_CONFIG=str(home))
    assert "not found" in done.out
    assert password_registry.asked("/manifests/")


async def test_an_entry_of_another_registry_that_cannot_be_read_is_no_failure(
    password_registry: FakeRegistry, tmp_path: Path
) -> None:
    mine = {"auth": base64.encodebytes(f"me:{SECRET}".encode()).decode()}
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {password_registry.address: mine, "other.test": {"auth": "?"}}})
    )
    (tmp_path / "list.txt").write_text(f"{password_registry.address}/app:v1\n")
    done = await call(tmp_path, "save", "-f", "list.txt", DOCKER_CONFIG=str(tmp_path))
    assert "not found" in done.out
    assert password_registry.asked("/manifests/")


async def test_a_helper_of_docker_keeps_it(
    password_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helpers = Helpers(tmp_path, monkeypatch)
    helpers.add("mine")
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"credsStore": "mine"}')
    flags = ("login", password_registry.address, "-u", "me", "--password-stdin")
    done = await call(tmp_path, *flags, given=SECRET.encode())
    assert done == Done(0, f"ok         {password_registry.address}: kept in docker-credential-mine\n", "")
    assert (await call(tmp_path, "logout", password_registry.address)).status == 0
    assert [line.partition(" ")[0] for line in helpers.asked("mine")] == ["store", "erase"]


async def test_a_wrong_password(password_registry: FakeRegistry, tmp_path: Path) -> None:
    flags = ("login", password_registry.address, "-u", "me", "--password-stdin", "--debug")
    done = await call(tmp_path, *flags, given=b"s3cret-and-wrong")
    assert (done.status, done.out) == (1, "")
    assert "does not take this user name and password: UNAUTHORIZED: authentication required; check both" in done.err
    assert "Traceback" in done.err
    assert "s3cret" not in done.err
    assert not (tmp_path / ".docker").exists()


async def test_a_registry_that_asks_nobody(tmp_path: Path) -> None:
    async with fake_registry() as password_registry:
        done = await call(tmp_path, "login", password_registry.address, "-u", "me", "--password-stdin", given=b"x")
    assert done.status == 0
    assert "it asks for no user name, so it was not checked" in done.out


def test_at_a_real_registry(
    htpasswd_registry: str, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("login", htpasswd_registry, "-u", USERNAME, "--password-stdin")

    def give(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    give("other")
    done = program(*words)
    assert (done.status, done.out) == (1, "")
    assert "does not take this user name and password" in done.err
    give(PASSWORD)
    path = tmp_path / ".docker" / "config.json"
    assert program(*words) == Done(0, f"ok         {htpasswd_registry}: kept in {path}\n", "")
    give(PASSWORD)
    assert program("--quiet", *words) == Done(0, "", "")
    assert kept(path) == {htpasswd_registry: f"{USERNAME}:{PASSWORD}"}


async def test_that_nothing_protects_the_password_is_told(password_registry: FakeRegistry, tmp_path: Path) -> None:
    """By plain HTTP, which is only asked where the certificates are not to be verified."""
    words = ("login", "reg.test", "-u", "me", "--password-stdin")
    async with Proxy({"reg.test:80": password_registry.address}).running() as proxy:
        proxies = {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url}
        refused = await call(tmp_path, *words, given=SECRET.encode(), **proxies)
        assert (refused.status, refused.out) == (1, "")
        assert password_registry.requests == []
        done = await call(tmp_path, "--tls-verify=false", *words, given=SECRET.encode(), **proxies)
    assert done.status == 0, done
    assert done.err == "hangar-async: reg.test is asked by plain HTTP: nothing protects what is sent and received\n"
    assert kept(tmp_path / ".docker" / "config.json") == {"reg.test": f"me:{SECRET}"}


@pytest.mark.parametrize(
    ("words", "given", "why"),
    [
        (("reg.io", "-u", "me"), b"", "there is no terminal to ask for the password"),
        (("reg.io", "--password-stdin"), b"x", "--password-stdin needs --username"),
        (("reg.io", "-u", "me", "--password-stdin"), b"", "password missing"),
        (("reg.io", "-u", "me", "--password-stdin"), b"\xff\xfe", "cannot be read as text"),
        (("reg.io", "-u", "me", "--password-stdin"), b"x\ny", "the given password has a line end"),
        (("reg.io/team", "-u", "me", "--password-stdin"), b"x", "is not a registry"),
        (("reg.io", "-u", "a:b", "--password-stdin"), b"x", "not possible"),
        ((), b"", "missing argument"),
    ],
)
async def test_usage(tmp_path: Path, words: tuple[str, ...], given: bytes, why: str) -> None:
    done = await call(tmp_path, "login", *words, given=given)
    assert (done.status, done.out) == (2, "")
    assert why in done.err
    assert len(done.err.splitlines()) == 1


async def test_a_configuration_that_cannot_be_read(password_registry: FakeRegistry, tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text("{")
    flags = ("login", password_registry.address, "-u", "me", "--password-stdin")
    assert (await call(tmp_path, *flags, given=SECRET.encode())).status == 2
    assert (await call(tmp_path, "logout", password_registry.address)).status == 2


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.shown = ""

    async def run(self, *words: str, answers: dict[str, str]) -> int:
        near, far = pty.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                *command(*words), env=environment(self.home), stdin=far, stdout=far, stderr=far, start_new_session=True
            )
            os.close(far)
            os.set_blocking(near, False)
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(near, self._take, near, answers, ended)
            await ended.wait()
            loop.remove_reader(near)
            return await process.wait()
        finally:
            os.close(near)

    def _take(self, near: int, answers: dict[str, str], ended: asyncio.Event) -> None:
        try:
            data = os.read(near, 4096)
        except OSError:  # the other side is closed
            data = b""
        if not data:
            ended.set()
            return
        self.shown += data.decode()
        for question in [one for one in answers if self.shown.endswith(one)]:
            os.write(near, f"{answers.pop(question)}\n".encode())


async def test_on_a_terminal_it_asks_and_shows_no_password(password_registry: FakeRegistry, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    status = await terminal.run("login", password_registry.address, answers={"Username: ": "me", "Password: ": SECRET})
    assert status == 0, terminal.shown
    assert SECRET not in terminal.shown
    assert kept(tmp_path / ".docker" / "config.json") == {password_registry.address: f"me:{SECRET}"}


async def test_on_a_terminal_a_given_name_is_not_asked_for(password_registry: FakeRegistry, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    status = await terminal.run("login", password_registry.address, "-u", "me", answers={"Password: ": "wrong"})
    assert status == 1
    assert "Username" not in terminal.shown


def test_the_end_of_the_input_is_no_password(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", nothing)
    done = program("login", "reg.io", "-u", "me")
    assert (done.status, "no password was given" in done.err) == (2, True)


def test_ctrl_c_at_the_question(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", interrupt)
    assert program("login", "reg.io", "-u", "me").status == 130
