from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import CredentialError, HangarError, StorageError, UsageError
from hangar_async.registry.auth.credentials import Credentials, Logins
from hangar_async.registry.auth.docker_config import Credential
from tests.fakes.credential_helpers import NOT_FOUND, Helpers, says
from tests.fakes.faulty_disk import FaultyDisk
from tests.registry.auth.rig import HUB, auth, find, texts, write


async def test_an_identity_token_of_a_helper_is_read(tmp_path: Path, helpers: Helpers) -> None:
    helpers.add("id", says("<token>", "it"))
    config_path = write(tmp_path / "config.json", credsStore="id")
    assert await find(RegistrySettings(credential_files=(config_path,)), "a.io") == Credential(
        "docker-credential-id", identity_token="it"
    )


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'keychain is locked'; exit 1", "keychain is locked"),
        ("""echo '{"Secret":"hidden"}'; exit 2""", "failed"),
        ("echo 'hidden, but no JSON'", "no credential"),
        (
            r"""printf %s '{"Username":"me","Secret":"hidden\n"}'""",
            "the password from docker-credential-bad has a line end",
        ),
        ("exit 0", "no credential"),
        ("""printf '{"x":'; head -c 200000 /dev/zero | tr '\\0' '['""", "no credential"),
        ("exec sleep 600", "did not answer"),
        ("sleep 600", "did not answer"),
        ("head -c 3000000 /dev/zero", "no credential"),
    ],
)
async def test_a_failing_helper_is_passed_over_with_a_notice(
    tmp_path: Path, helpers: Helpers, script: str, why: str
) -> None:
    helpers.add("bad", script)
    config_path = write(tmp_path / "config.json", credsStore="bad", auths={"a.io": auth("file", "x")})
    notices: list[str] = []
    settings = RegistrySettings(credential_files=(config_path,), credential_helper_timeout=0.5)
    credentials = Credentials(settings, None, notices.append)
    await credentials.load()
    for _ in range(2):
        assert await credentials.find("a.io", "app") == Credential(str(config_path), "file", "x")
    assert len(notices) == 1
    assert why in notices[0]
    assert "hidden" not in notices[0]


async def test_a_given_password_that_cannot_be_sent_is_refused() -> None:
    credentials = Credentials(RegistrySettings(username="me", password="hidden\n"), "a.io", lambda _: None)
    with pytest.raises(CredentialError, match="the password from the settings of this run has a line end") as caught:
        await credentials.find("a.io", "app")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "../../bin/sh", "a b", "-x"])
async def test_an_impossible_helper_is_passed_over(tmp_path: Path, name: str) -> None:
    config_path = write(tmp_path / "config.json", credsStore=name)
    notices: list[str] = []
    credentials = Credentials(RegistrySettings(credential_files=(config_path,)), None, notices.append)
    await credentials.load()
    assert await credentials.find("a.io", "app") is None
    assert len(notices) == 1


async def test_a_helper_without_a_secret_knows_nothing(tmp_path: Path, helpers: Helpers) -> None:
    helpers.add("empty", says("me", ""))
    config_path = write(tmp_path / "config.json", credsStore="empty")
    assert await find(RegistrySettings(credential_files=(config_path,)), "a.io") is None


SECRET = "pass:wörd"


async def known(config_path: Path, registry: str) -> tuple[str, str] | None:
    credentials = Credentials(RegistrySettings(credential_files=(config_path,)), None, lambda _: None)
    await credentials.load()
    found = await credentials.find(registry, "team/app")
    return (found.username, found.password) if found else None


async def test_earlier_files_win_and_missing_ones_are_passed_over(tmp_path: Path) -> None:
    first = write(tmp_path / "first.json", auths={"a.io": auth("first", "x"), "empty.io": {}})
    second = write(tmp_path / "second.json", auths={name: auth("second", "x") for name in ("a.io", "b.io", "empty.io")})
    (tmp_path / "blank.json").write_text("\n")
    files = (tmp_path / "none.json", first / "below.json", tmp_path / "blank.json", first, second)
    settings = RegistrySettings(credential_files=files)
    names = []
    for registry in ("a.io", "b.io", "empty.io"):
        found = await find(settings, registry)
        names.append(found.username if found else None)
    assert names == ["first", "second", "second"]


async def test_a_default_file_of_another_user_is_passed_over_with_a_notice(tmp_path: Path, forbidden: Path) -> None:
    path = write(tmp_path / "auth.json", auths={"a.io": auth("me", "x")})
    notices: list[str] = []
    files = RegistrySettings(credential_files=(forbidden, path), default_credential_files=frozenset({forbidden}))
    credentials = Credentials(files, None, notices.append)
    await credentials.load()
    assert await credentials.find("a.io", "app") == Credential(str(path), "me", "x")
    assert notices == [f"cannot read the credentials in {forbidden}: Permission denied; going on without it"]


@pytest.mark.parametrize("default", [False, True])
async def test_a_named_file_and_a_directory_are_no_files_to_pass_over(
    tmp_path: Path, forbidden: Path, default: bool
) -> None:
    path = tmp_path if default else forbidden
    files = RegistrySettings(
        credential_files=(path,), default_credential_files=frozenset({path}) if default else frozenset()
    )
    with pytest.raises(UsageError, match=str(path)):
        await Credentials(files, None, lambda _: None).load()


async def test_a_login_is_not_kept_in_a_file_of_another_user(forbidden: Path) -> None:
    with pytest.raises(UsageError, match="Permission denied"):
        await Logins(forbidden).keep("reg.io", "me", SECRET)


async def test_helpers_come_before_entries_in_a_file(tmp_path: Path, helpers: Helpers) -> None:
    helpers.add("own", says("own", "s:1"))
    helpers.add("none", NOT_FOUND)
    helpers.add("all", f"case $server in all.io) {says('all', 's2')};; *) {NOT_FOUND};; esac")
    names = ("own.io", "none.io", "all.io", "file.io")
    config_path = write(
        tmp_path / "config.json",
        auths={name: auth("file", "s3") for name in names},
        credsStore="all",
        credHelpers={"own.io": "own", "none.io": "none"},
    )
    settings = RegistrySettings(credential_files=(config_path,))
    assert await find(settings, "own.io") == Credential("docker-credential-own", "own", "s:1")
    assert await find(settings, "none.io") == Credential(str(config_path), "file", "s3")
    assert await find(settings, "all.io") == Credential("docker-credential-all", "all", "s2")
    assert await find(settings, "file.io") == Credential(str(config_path), "file", "s3")
    assert helpers.asked("own") == ["get own.io"]
    assert helpers.asked("all") == ["get none.io", "get all.io", "get file.io"]


async def test_docker_hub_is_asked_for_by_its_old_address(tmp_path: Path, helpers: Helpers) -> None:
    helpers.add("hub", says("me", "x"))
    config_path = write(tmp_path / "config.json", credHelpers={HUB: "hub"})
    assert await find(RegistrySettings(credential_files=(config_path,)), "docker.io") == Credential(
        "docker-credential-hub", "me", "x"
    )
    assert helpers.asked("hub") == [f"get {HUB}"]


async def test_a_helper_runs_once_for_a_registry_and_not_beside_another(tmp_path: Path, helpers: Helpers) -> None:
    helpers.add("one", f"mkdir {tmp_path}/running || exit 1; {says('me', 'x')}; rmdir {tmp_path}/running")
    config_path = write(tmp_path / "config.json", credsStore="one")
    credentials = Credentials(RegistrySettings(credential_files=(config_path,)), None, lambda _: None)
    await credentials.load()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(credentials.find(f"r{number % 3}.io", f"app{number}")) for number in range(12)]
    assert {task.result() for task in tasks} == {Credential("docker-credential-one", "me", "x")}
    assert sorted(helpers.asked("one")) == ["get r0.io", "get r1.io", "get r2.io"]


@pytest.mark.parametrize(("registry", "key"), [("reg.io:5000", "reg.io:5000"), ("docker.io", HUB)])
async def test_a_login_is_kept_as_docker_keeps_it(config_path: Path, registry: str, key: str) -> None:
    assert await Logins(config_path).keep(registry, "me", SECRET) == str(config_path)
    assert json.loads(config_path.read_text()) == {"auths": {key: auth("me", SECRET)}}
    assert config_path.stat().st_mode & 0o777 == 0o600
    assert config_path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in config_path.parent.iterdir()] == ["config.json"]
    assert await known(config_path, registry) == ("me", SECRET)


async def test_the_rest_of_the_file_stays_as_it_is(config_path: Path) -> None:
    content = {
        "HttpHeaders": {"User-Agent": "größe"},
        "auths": {"z.io": auth("z", "1"), "reg.io": {"identitytoken": "old"}, "a.io": {}, "bad.io": 5},
        "psFormat": "table {{.ID}}",
        "big": 12345678901234567890,
        "empty": None,
    }
    write(config_path, **content)
    config_path.chmod(0o644)
    await Logins(config_path).keep("reg.io", "me", SECRET)
    after = json.loads(config_path.read_text())
    assert list(after) == list(content)
    assert list(after["auths"]) == ["z.io", "reg.io", "a.io", "bad.io"]
    expected = {**content, "auths": {"z.io": auth("z", "1"), "reg.io": auth("me", SECRET), "a.io": {}, "bad.io": 5}}
    assert after == expected
    assert config_path.stat().st_mode & 0o777 == 0o600
    assert await Logins(config_path).drop("reg.io")
    after = json.loads(config_path.read_text())
    assert list(after) == list(content)
    assert after["auths"] == {"z.io": auth("z", "1"), "a.io": {}, "bad.io": 5}
    assert not await Logins(config_path).drop("reg.io")


async def test_other_spellings_do_not_hide_a_new_login(config_path: Path) -> None:
    others = {"https://reg.io/v2/": auth("old", "1"), "http://reg.io": auth("old", "2"), "reg.io/team": auth("t", "3")}
    write(config_path, auths=others)
    await Logins(config_path).keep("reg.io", "me", SECRET)
    assert json.loads(config_path.read_text())["auths"] == {"reg.io/team": auth("t", "3"), "reg.io": auth("me", SECRET)}
    write(config_path, auths={"index.docker.io": auth("old", "1"), HUB: auth("old", "2"), "reg.io": auth("x", "4")})
    assert await Logins(config_path).drop("docker.io")
    assert json.loads(config_path.read_text())["auths"] == {"reg.io": auth("x", "4")}


@pytest.mark.parametrize("content", ["", " \n", "{}", '{"auths": null}'])
async def test_an_empty_file_takes_a_login(config_path: Path, content: str) -> None:
    config_path.parent.mkdir()
    config_path.write_text(content)
    assert not await Logins(config_path).drop("reg.io")
    await Logins(config_path).keep("reg.io", "me", SECRET)
    assert await known(config_path, "reg.io") == ("me", SECRET)


@pytest.mark.parametrize("content", ["{", '{"auths": []}', "[]", "5", '"x"'])
async def test_a_file_that_cannot_be_read_is_left_alone(config_path: Path, content: str) -> None:
    config_path.parent.mkdir()
    config_path.write_text(content)
    for work in (Logins(config_path).keep("reg.io", "me", SECRET), Logins(config_path).drop("reg.io")):
        with pytest.raises(UsageError, match=str(config_path)):
            await work
    assert config_path.read_text() == content


async def test_a_link_to_the_file_stays_one(config_path: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    config_path.parent.mkdir()
    config_path.symlink_to(real)
    await Logins(config_path).keep("reg.io", "me", SECRET)
    assert config_path.is_symlink()
    assert json.loads(real.read_text())["auths"]


async def test_a_disk_that_fails_leaves_the_file_whole(config_path: Path) -> None:
    write(config_path, auths={"a.io": auth("a", "1")})
    before, number = config_path.read_bytes(), 0
    while True:
        disk = FaultyDisk(number)
        try:
            await Logins(config_path, disk=disk).keep("reg.io", "me", SECRET)
        except StorageError:
            # It has the new login only when the one thing left was to make sure of its name.
            assert (config_path.read_bytes() == before) == (disk.failed != "sync"), disk.failed
            assert [entry.name for entry in config_path.parent.iterdir()] == ["config.json"]
        else:
            break
        number += 1
    assert number >= 4
    assert await known(config_path, "reg.io") == ("me", SECRET)


async def test_a_helper_keeps_the_login_instead(config_path: Path, helpers: Helpers) -> None:
    helpers.add("all")
    helpers.add("own")
    write(config_path, credsStore="all", credHelpers={"own.io": "own"}, auths={"reg.io": auth("old", "1")})
    assert await Logins(config_path).keep("reg.io", "me", SECRET) == "docker-credential-all"
    assert await Logins(config_path).keep("own.io", "me", SECRET) == "docker-credential-own"
    assert await Logins(config_path).keep("docker.io", "me", SECRET) == "docker-credential-all"
    document = json.loads(config_path.read_text())
    # Docker notes in this way that something is known of them.
    assert document["auths"] == {"reg.io": {}, "own.io": {}, HUB: {}}
    [told] = helpers.asked("own")
    assert told.startswith("store {")
    assert json.loads(told.removeprefix("store ")) == {"ServerURL": "own.io", "Username": "me", "Secret": SECRET}
    assert [json.loads(line.removeprefix("store "))["ServerURL"] for line in helpers.asked("all")] == ["reg.io", HUB]
    assert await Logins(config_path).drop("own.io")
    assert helpers.asked("own")[1:] == ["erase own.io"]
    # It might be with the helper for all too.
    assert helpers.asked("all")[2:] == ["erase own.io"]
    assert json.loads(config_path.read_text())["auths"] == {"reg.io": {}, HUB: {}}


async def test_a_helper_that_knows_nothing_of_it_is_no_failure(config_path: Path, helpers: Helpers) -> None:
    helpers.add("all", NOT_FOUND)
    write(config_path, credsStore="all")
    assert not await Logins(config_path).drop("reg.io")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'the keychain is locked'; exit 1", "the keychain is locked"),
        (f"echo 'cannot keep {SECRET}'; exit 1", "failed for reg.io$"),
        (f"{says('me', SECRET)}; exit 1", "failed for reg.io$"),
        ("exec sleep 600", "did not answer"),
    ],
)
async def test_a_helper_that_fails_keeps_nothing(config_path: Path, helpers: Helpers, script: str, why: str) -> None:
    helpers.add("bad", script)
    write(config_path, credsStore="bad")
    before = config_path.read_bytes()
    with pytest.raises(HangarError, match=why) as caught:
        await Logins(config_path, limit=0.5).keep("reg.io", "me", SECRET)
    assert SECRET not in f"{caught.value}{caught.value!r}"
    assert config_path.read_bytes() == before


async def test_a_missing_helper_is_reported(config_path: Path) -> None:
    write(config_path, credsStore="nowhere-to-be-found")
    with pytest.raises(HangarError, match="cannot be run"):
        await Logins(config_path).keep("reg.io", "me", SECRET)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=texts(min_size=1).filter(lambda text: ":" not in text), password=texts(min_size=1))
async def test_any_user_and_password_read_back(config_path: Path, user: str, password: str) -> None:
    if config_path.exists():
        config_path.unlink()
    await Logins(config_path).keep("reg.io", user, password)
    assert await known(config_path, "reg.io") == (user, password)
