from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import bcrypt
import pytest
from hypothesis import given, strategies as st

from hangar_async.errors import UsageError
from hangar_async.server import htpasswd
from hangar_async.server.htpasswd import Users, read_users
from tests.server.rig import HASHES, PASSWORD


def basic(name: bytes | str, password: bytes | str) -> str:
    joined = b":".join(one.encode() if isinstance(one, str) else one for one in (name, password))
    return f"Basic {base64.b64encode(joined).decode()}"


@pytest.mark.parametrize("name", ["one", "two", "größe"])
async def test_a_user_is_results(users: Users, name: str) -> None:
    assert await users.know(basic(name, PASSWORD))
    assert await users.know(basic(name, PASSWORD).replace("Basic", "bAsIc"))
    assert not await users.know(basic(name, "wrong"))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic b25l",
        "Bearer abc",
        basic("none", PASSWORD),
        basic("one", ""),
        basic("", ""),
        basic("one", b"pass\0word"),
        basic("one", PASSWORD + b" "),
        basic(b"\xff", PASSWORD),
    ],
)
async def test_other_users_are_refused(users: Users, authorization: str) -> None:
    assert not await users.know(authorization)


class Counting(Users):
    """Users that count how often a password is checked."""

    checks = 0

    def _check(self, name: str, password: bytes) -> bool:
        self.checks += 1
        return super()._check(name, password)


async def test_a_thousand_requests_cost_one_check() -> None:
    users = Counting({"one": HASHES[0]})
    assert all(await asyncio.gather(*(users.know(basic("one", PASSWORD)) for _ in range(1000))))
    assert not any(await asyncio.gather(*(users.know(basic("one", "wrong")) for _ in range(1000))))
    assert users.checks == 2
    # Somebody who is not there costs one too, so that nobody can tell by the time.
    assert not await users.know(basic("none", PASSWORD))
    assert users.checks == 3


async def test_remembered_passwords_are_bounded(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(htpasswd, "_MAX_RESULTS", 3)
    for number in range(5):
        assert not await users.know(basic("one", f"{number}"))
    assert await users.know(basic("one", PASSWORD))
    assert len(users._results) == 3
    assert b"pass" not in b"".join(users._results)


async def test_a_password_counts_as_far_as_bcrypt_goes() -> None:
    long = b"x" * 100
    users = Users({"one": bcrypt.hashpw(long[:72], bcrypt.gensalt(4))})
    assert await users.know(basic("one", long))
    assert not await users.know(basic("one", long[:71]))


async def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    path.write_bytes(b"# users\n\n one:%s \r\ntwo:%s\none:%s\n" % (HASHES[0], HASHES[1], HASHES[2]))
    users = await asyncio.to_thread(read_users, path)
    assert await users.know(basic("one", PASSWORD))
    assert await users.know(basic("two", PASSWORD))


@pytest.mark.parametrize(
    "line",
    [
        "user:$apr1$Bq8d7q8M$1Z0hq1x5p1yqO7yqO7yqO1",
        "user:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "user:rl5FQ5bNUkzUY",
        "user:plain secret",
        "secret",
        f":{HASHES[0].decode()}",
        f"user:{HASHES[0].decode()}x",
        f"user:{HASHES[0].decode().replace('$04$', '$31$')}",
    ],
)
def test_every_other_kind_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "htpasswd"
    path.write_text(f"good:{HASHES[0].decode()}\n{line}\n")
    with pytest.raises(UsageError, match=r"htpasswd:2 \(--htpasswd\): not a name with a bcrypt hash") as failed:
        read_users(path)
    assert "secret" not in str(failed.value)
    assert "htpasswd -B" in failed.value.advice


def test_files_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        read_users(tmp_path / "none")
    (tmp_path / "empty").write_text("# nobody\n")
    with pytest.raises(UsageError, match="has no names"):
        read_users(tmp_path / "empty")
    monkeypatch.setattr(htpasswd, "_MAX_FILE", 5)
    with pytest.raises(UsageError, match="too large"):
        read_users(tmp_path / "empty")


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda data: f"Basic {base64.b64encode(data).decode()}"))
def test_any_header_is_read_or_refused(text: str) -> None:
    found = htpasswd._credentials(text)
    assert found is None or isinstance(found[1], bytes)
