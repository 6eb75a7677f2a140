from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from hypothesis import given, strategies as st

from hangar_async.errors import UsageError
from hangar_async.server import htpasswd
from hangar_async.server.htpasswd import MOST_WAITING, CheckQueue, TooManyChecks, Users, read_hashes
from tests.server.rig import HASHES, PASSWORD, basic


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
    """Users that note the names whose passwords are checked."""

    def __init__(self, hashes: Mapping[str, bytes]) -> None:
        super().__init__(hashes)
        self.checked: list[str] = []

    def _check(self, accounts: htpasswd._Accounts, name: str, password: bytes) -> bool:
        self.checked.append(name)
        return super()._check(accounts, name, password)


async def test_a_thousand_requests_cost_one_check() -> None:
    users = Counting({"one": HASHES[0]})
    assert all(await asyncio.gather(*(users.know(basic("one", PASSWORD)) for _ in range(1000))))
    assert not any(await asyncio.gather(*(users.know(basic("one", "wrong")) for _ in range(1000))))
    assert users.checked == ["one"] * 2
    assert not await users.know(basic("none", PASSWORD))
    assert users.checked == ["one", "one", "none"]


async def test_a_flood_of_wrong_passwords_shuts_no_right_one_out() -> None:
    users = Counting({"one": HASHES[0]})
    async with asyncio.TaskGroup() as group:
        wrong = [group.create_task(refused(users, f"{number}", "a")) for number in range(300)]
        await asyncio.sleep(0)
        right = [group.create_task(users.know(basic("one", PASSWORD), address)) for address in ("a", "b")]
    assert [task.result() for task in right] == [True, True]
    assert users.checked.index("one") <= 2
    assert sum(task.result() for task in wrong) == len(wrong) - MOST_WAITING


async def refused(users: Users, name: str, address: str) -> bool:
    """Tell whether a wrong password was not even checked."""
    try:
        assert not await users.know(basic(name, "wrong"), address)
    except TooManyChecks:
        return True
    return False


async def test_addresses_take_turns_and_their_newest_check_is_the_first() -> None:
    queue = CheckQueue()
    order: list[str] = []

    async def check(address: str) -> None:
        async with queue.turn(address[0]):
            order.append(address)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for address in ("a1", "a2", "a3", "b1", "b2", "c1"):
            group.create_task(check(address))
    assert order == ["a1", "a3", "b2", "c1", "a2", "b1"]


async def test_a_check_that_is_cancelled_hands_its_turn_on() -> None:
    queue = CheckQueue()
    ends = asyncio.Event()

    async def check() -> None:
        async with queue.turn("a"):
            await ends.wait()

    tasks = [asyncio.create_task(check()) for _ in range(3)]
    await asyncio.sleep(0)
    # The last is the next; it is cancelled in the moment in which it gets the turn.
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    tasks[2].cancel()
    ends.set()
    await asyncio.wait(tasks)
    assert not tasks[1].cancelled()
    async with queue.turn("a"):
        pass


async def test_addresses_without_end_give_up_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(htpasswd, "_MOST_ADDRESSES", 2)
    users = Users({"one": HASHES[0]})
    results = await asyncio.gather(*(refused(users, "none", f"{number}") for number in range(2)))
    assert results == [False, False]
    results = await asyncio.gather(*(refused(users, f"{number}", f"{number}") for number in range(5)))
    assert results == [False, True, True, False, False]


async def test_wrong_passwords_push_no_right_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(htpasswd, "_MAX_RESULTS", 3)
    users = Counting({"one": HASHES[0]})
    assert await users.know(basic("one", PASSWORD))
    for number in range(5):
        assert not await users.know(basic("one", f"{number}"))
    checks = len(users.checked)
    assert await users.know(basic("one", PASSWORD))
    assert len(users.checked) == checks
    assert {result: len(keys) for result, keys in users._accounts.results.items()} == {True: 1, False: 3}
    assert b"pass" not in b"".join(users._accounts.results[True])


@pytest.mark.parametrize("name", ["cheap", "dear", "none"])
async def test_each_wrong_password_costs_as_much_as_the_dearest_hash(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[int] = []

    def note(work: Callable[[bytes, bytes], Any], password: bytes, salt: bytes) -> Any:
        spent.append(2 ** int(salt[4:6]))
        return work(password, salt)

    monkeypatch.setattr(bcrypt, "checkpw", partial(note, bcrypt.checkpw))
    monkeypatch.setattr(bcrypt, "hashpw", partial(note, bcrypt.hashpw))
    users = Users({"cheap": HASHES[0], "dear": HASHES[0].replace(b"$04$", b"$07$")})
    assert not await users.know(basic(name, "wrong"))
    assert sum(spent) == 2**7


async def test_a_password_counts_as_far_as_bcrypt_goes() -> None:
    long = b"x" * 100
    users = Users({"one": bcrypt.hashpw(long[:72], bcrypt.gensalt(4))})
    assert await users.know(basic("one", long))
    assert not await users.know(basic("one", long[:71]))


async def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    path.write_bytes(b"# users\n\n one:%s \r\ntwo:%s\none:%s\n" % (HASHES[0], HASHES[1], HASHES[2]))
    users = Users(await asyncio.to_thread(read_hashes, path))
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
        f"user:{HASHES[0].decode().replace('$04$', '$03$')}",
    ],
)
def test_every_other_kind_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "htpasswd"
    path.write_text(f"good:{HASHES[0].decode()}\n{line}\n")
    with pytest.raises(UsageError, match=r"htpasswd:2 \(--htpasswd\): not a name with a bcrypt hash") as failed:
        read_hashes(path)
    assert "secret" not in str(failed.value)
    assert "htpasswd -B" in failed.value.advice


def test_a_hash_that_is_too_dear_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    path.write_bytes(b"one:" + HASHES[0].replace(b"$04$", b"$14$"))
    read_hashes(path)
    path.write_bytes(b"one:" + HASHES[0].replace(b"$04$", b"$15$"))
    with pytest.raises(UsageError, match=r"htpasswd:1 \(--htpasswd\): a hash of cost 15") as failed:
        read_hashes(path)
    assert "up to 14" in failed.value.advice


def test_files_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        read_hashes(tmp_path / "none")
    (tmp_path / "empty").write_text("# nobody\n")
    with pytest.raises(UsageError, match="has no names"):
        read_hashes(tmp_path / "empty")
    monkeypatch.setattr(htpasswd, "_MAX_FILE", 5)
    with pytest.raises(UsageError, match="too large"):
        read_hashes(tmp_path / "empty")


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda data: f"Basic {base64.b64encode(data).decode()}"))
def test_any_header_is_read_or_refused(text: str) -> None:
    found = htpasswd._credentials(text)
    assert found is None or isinstance(found[1], bytes)
