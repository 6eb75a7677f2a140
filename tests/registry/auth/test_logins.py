from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import HangarError, StorageError, UsageError
from hangar_async.registry.auth.credentials import Credentials, Logins
from tests.fakes.credential_helpers import NOT_FOUND, Helpers, says
from tests.fakes.faulty_disk import FaultyDisk

HUB = "https://index.docker.io/v1/"
SECRET = "pass:wörd"


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helpers:
    return Helpers(tmp_path, monkeypatch)


def write(path: Path, **content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


async def known(path: Path, registry: str) -> tuple[str, str] | None:
    credentials = Credentials(RegistrySettings(credential_files=(path,)), None, lambda _: None)
    await credentials.load()
    found = await credentials.find(registry, "team/app")
    return (found.username, found.password) if found else None


@pytest.mark.parametrize(("registry", "key"), [("reg.io:5000", "reg.io:5000"), ("docker.io", HUB)])
async def test_a_login_is_kept_as_docker_keeps_it(path: Path, registry: str, key: str) -> None:
    assert await Logins(path).keep(registry, "me", SECRET) == str(path)
    assert json.loads(path.read_text()) == {"auths": {key: auth("me", SECRET)}}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["config.json"]
    assert await known(path, registry) == ("me", SECRET)


async def test_the_rest_of_the_file_stays_as_it_is(path: Path) -> None:
    content = {
        "HttpHeaders": {"User-Agent": "größe"},
        "auths": {"z.io": auth("z", "1"), "reg.io": {"identitytoken": "old"}, "a.io": {}},
        "psFormat": "table {{.ID}}",
        "big": 12345678901234567890,
        "empty": None,
    }
    write(path, **content)
    path.chmod(0o644)
    await Logins(path).keep("reg.io", "me", SECRET)
    after = json.loads(path.read_text())
    assert list(after) == list(content)
    assert list(after["auths"]) == ["z.io", "reg.io", "a.io"]
    expected = {**content, "auths": {"z.io": auth("z", "1"), "reg.io": auth("me", SECRET), "a.io": {}}}
    assert after == expected
    assert path.stat().st_mode & 0o777 == 0o600
    assert await Logins(path).drop("reg.io")
    after = json.loads(path.read_text())
    assert list(after) == list(content)
    assert after["auths"] == {"z.io": auth("z", "1"), "a.io": {}}
    assert not await Logins(path).drop("reg.io")


async def test_other_spellings_do_not_hide_a_new_login(path: Path) -> None:
    others = {"https://reg.io/v2/": auth("old", "1"), "http://reg.io": auth("old", "2"), "reg.io/team": auth("t", "3")}
    write(path, auths=others)
    await Logins(path).keep("reg.io", "me", SECRET)
    assert json.loads(path.read_text())["auths"] == {"reg.io/team": auth("t", "3"), "reg.io": auth("me", SECRET)}
    write(path, auths={"index.docker.io": auth("old", "1"), HUB: auth("old", "2"), "reg.io": auth("x", "4")})
    assert await Logins(path).drop("docker.io")
    assert json.loads(path.read_text())["auths"] == {"reg.io": auth("x", "4")}


@pytest.mark.parametrize("content", ["", " \n", "{}", '{"auths": null}'])
async def test_a_file_that_holds_nothing(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    assert not await Logins(path).drop("reg.io")
    await Logins(path).keep("reg.io", "me", SECRET)
    assert await known(path, "reg.io") == ("me", SECRET)


@pytest.mark.parametrize("content", ["{", '{"auths": []}', "[]", "5", '"x"', '{"auths": {"a.io": 5}}'])
async def test_a_file_that_cannot_be_read_is_left_alone(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    for work in (Logins(path).keep("reg.io", "me", SECRET), Logins(path).drop("reg.io")):
        with pytest.raises(UsageError, match=str(path)):
            await work
    assert path.read_text() == content


async def test_a_link_to_the_file_stays_one(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    path.parent.mkdir()
    path.symlink_to(real)
    await Logins(path).keep("reg.io", "me", SECRET)
    assert path.is_symlink()
    assert json.loads(real.read_text())["auths"]


async def test_a_disk_that_fails_leaves_the_file_whole(path: Path) -> None:
    write(path, auths={"a.io": auth("a", "1")})
    before, number = path.read_bytes(), 0
    while True:
        disk = FaultyDisk(number)
        try:
            await Logins(path, disk=disk).keep("reg.io", "me", SECRET)
        except StorageError:
            assert path.read_bytes() == before, disk.failed
            assert [entry.name for entry in path.parent.iterdir()] == ["config.json"]
        else:
            break
        number += 1
    assert number >= 4
    assert await known(path, "reg.io") == ("me", SECRET)


async def test_a_helper_keeps_the_login_instead(path: Path, helpers: Helpers) -> None:
    helpers.add("all")
    helpers.add("own")
    write(path, credsStore="all", credHelpers={"own.io": "own"}, auths={"reg.io": auth("old", "1")})
    assert await Logins(path).keep("reg.io", "me", SECRET) == "docker-credential-all"
    assert await Logins(path).keep("own.io", "me", SECRET) == "docker-credential-own"
    assert await Logins(path).keep("docker.io", "me", SECRET) == "docker-credential-all"
    document = json.loads(path.read_text())
    # Docker notes in this way that something is known of them.
    assert document["auths"] == {"reg.io": {}, "own.io": {}, HUB: {}}
    [told] = helpers.asked("own")
    assert told.startswith("store {")
    assert json.loads(told.removeprefix("store ")) == {"ServerURL": "own.io", "Username": "me", "Secret": SECRET}
    assert [json.loads(line.removeprefix("store "))["ServerURL"] for line in helpers.asked("all")] == ["reg.io", HUB]
    assert await Logins(path).drop("own.io")
    assert helpers.asked("own")[1:] == ["erase own.io"]
    # It might be with the helper for all too.
    assert helpers.asked("all")[2:] == ["erase own.io"]
    assert json.loads(path.read_text())["auths"] == {"reg.io": {}, HUB: {}}


async def test_a_helper_that_knows_nothing_of_it_is_no_failure(path: Path, helpers: Helpers) -> None:
    helpers.add("all", NOT_FOUND)
    write(path, credsStore="all")
    assert not await Logins(path).drop("reg.io")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'the keychain is locked'; exit 1", "the keychain is locked"),
        (f"echo 'cannot keep {SECRET}'; exit 1", "failed for reg.io$"),
        (f"{says('me', SECRET)}; exit 1", "failed for reg.io$"),
        ("exec sleep 600", "did not answer"),
    ],
)
async def test_a_helper_that_fails_keeps_nothing(path: Path, helpers: Helpers, script: str, why: str) -> None:
    helpers.add("bad", script)
    write(path, credsStore="bad")
    before = path.read_bytes()
    with pytest.raises(HangarError, match=why) as caught:
        await Logins(path, limit=0.5).keep("reg.io", "me", SECRET)
    assert SECRET not in f"{caught.value}{caught.value!r}"
    assert path.read_bytes() == before


async def test_a_helper_that_is_not_there(path: Path) -> None:
    write(path, credsStore="nowhere-to-be-found")
    with pytest.raises(HangarError, match="cannot be run"):
        await Logins(path).keep("reg.io", "me", SECRET)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=st.text(min_size=1).filter(lambda text: not set(text) & set(":\0")), password=st.text(min_size=1))
async def test_any_user_and_password_read_back(path: Path, user: str, password: str) -> None:
    if path.exists():
        path.unlink()
    await Logins(path).keep("reg.io", user, password)
    assert await known(path, "reg.io") == (user, password.rstrip("\0"))
