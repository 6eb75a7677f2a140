from __future__ import annotations

import asyncio
import base64
import json
import os
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import UsageError
from hangar_async.registry.auth.credentials import Credentials
from hangar_async.registry.auth.docker_config import Credential, parse_credential_file
from hangar_async.registry.client import RegistryClient
from tests.fakes.credential_helpers import NOT_FOUND, Helpers, says
from tests.refusal import attempt

HUB = "https://index.docker.io/v1/"


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, **content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


async def find(settings: RegistrySettings, registry: str, repository: str = "team/app") -> Credential | None:
    credentials = Credentials(settings, None, lambda _: None)
    await credentials.load()
    return await credentials.find(registry, repository)


@pytest.mark.parametrize(
    "key",
    ["reg.io:5000", "https://reg.io:5000", "https://reg.io:5000/", "http://reg.io:5000/v1/", "https://reg.io:5000/v2/",
     "reg.io:5000/v1", "reg.io:5000/"],
)  # fmt: skip
async def test_a_registry_by_all_its_names(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "config.json", auths={key: auth("me", "pa:ss:")})
    settings = RegistrySettings(credential_files=(path,))
    assert await find(settings, "reg.io:5000") == Credential(str(path), "me", "pa:ss:")
    assert await find(settings, "reg.io") is None
    assert await find(settings, "reg.io:50001") is None


@pytest.mark.parametrize("key", [HUB, "docker.io", "index.docker.io", "registry-1.docker.io", "https://docker.io"])
async def test_docker_hub_by_all_its_names(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "config.json", auths={key: auth("me", "x")})
    found = await find(RegistrySettings(credential_files=(path,)), "docker.io", "library/nginx")
    assert found == Credential(str(path), "me", "x")


async def test_the_key_nearest_to_the_repository_wins(tmp_path: Path) -> None:
    keys = ("reg.io", "reg.io/team", "reg.io/team/app", "reg.io/team/application", "docker.io/team")
    path = write(tmp_path / "auth.json", auths={key: auth(key, "x") for key in keys})
    settings = RegistrySettings(credential_files=(path,))
    for registry, repository, key in (
        ("reg.io", "team/app", "reg.io/team/app"),
        ("reg.io", "team/app/part", "reg.io/team/app"),
        ("reg.io", "team/apple", "reg.io/team"),
        ("reg.io", "teams/app", "reg.io"),
        ("docker.io", "team/app", "docker.io/team"),
    ):
        found = await find(settings, registry, repository)
        assert found is not None
        assert found.username == key
    assert await find(settings, "docker.io", "library/nginx") is None


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


async def test_plain_fields_and_tokens(tmp_path: Path) -> None:
    path = write(
        tmp_path / "config.json",
        auths={
            "a.io": {"username": "me", "password": "p:w"},
            "b.io": {"identitytoken": "it"},
            "c.io": {"registrytoken": "rt"},
            "d.io": None,
        },
    )
    settings = RegistrySettings(credential_files=(path,))
    source = str(path)
    assert await find(settings, "a.io") == Credential(source, "me", "p:w")
    assert await find(settings, "b.io") == Credential(source, identity_token="it")
    assert await find(settings, "c.io") == Credential(source, registry_token="rt")
    assert await find(settings, "d.io") is None


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff\xfe\x00", b'{"auths": []}',
     b'{"auths": {"a.io": "dTpw"}}', b'{"auths": {"a.io": {"auth": "c2VjcmV0"}}}', b"{}{}",
     b'{"auths": {"a.io": {"auth": "%%%"}}}', b'{"credsStore": 5}', b"[" * 100_000],
)  # fmt: skip
async def test_a_broken_file_is_named_before_work_begins(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        async with RegistryClient(RegistrySettings(credential_files=(path,))):
            raise AssertionError
    assert str(path) in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=str(tmp_path)):
        await find(RegistrySettings(credential_files=(tmp_path,)), "a.io")


@given(
    st.text().filter(lambda text: ":" not in text and "\0" not in text), st.text().filter(lambda text: "\0" not in text)
)
def test_any_user_and_password_are_read(user: str, password: str) -> None:
    content = json.dumps({"auths": {"a.io": auth(user, password)}}).encode()
    found = parse_credential_file(content, Path("c")).entry_for("a.io", "x")
    assert found == (Credential("c", user, password) if user or password else None)


@given(st.text(max_size=40))
def test_any_key_is_read(key: str) -> None:
    content = json.dumps({"auths": {key: auth("u", "p")}}).encode()
    assert parse_credential_file(content, Path("c")).entry_for("registry.example", "x") is None


@pytest.mark.parametrize("start", [b"", b"\xff", b"user:"])
@given(secret=st.binary(min_size=9, max_size=60))
def test_an_entry_is_told_neither_with_what_it_is_nor_with_what_is_in_it(start: bytes, secret: bytes) -> None:
    for entry in (base64.b64encode(start + secret).decode(), (start + secret).decode("latin-1")):
        content = json.dumps({"auths": {"a.io": {"auth": entry}}}).encode()
        try:
            told = repr(parse_credential_file(content, Path("c")))
        except UsageError as error:
            told = "".join(traceback.format_exception(error)) + f"{error!r} {error.__cause__!r} {error.__context__!r}"
        assert entry not in told
        assert repr(secret)[2:-1] not in told


_json = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.just(HUB),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["auths", "auth", "username", "password", "credsStore", "credHelpers", "identitytoken", HUB]
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=100) | _json.map(lambda value: json.dumps(value).encode()))
def test_any_file_is_read_or_a_usage_error(content: bytes) -> None:
    if found := attempt(lambda: parse_credential_file(content, Path("c")), UsageError):
        assert all(found.helpers_for("docker.io"))
        assert found.entry_for("docker.io", "library/x") in (None, *found.auths.values())


def test_no_secret_is_shown() -> None:
    assert "secret" not in repr(Credential("file", "user-secret", "secret", "secret", "secret"))


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helpers:
    return Helpers(tmp_path, monkeypatch)


async def test_the_order_within_a_file(tmp_path: Path, helpers: Helpers) -> None:
    helpers.add("own", says("own", "s:1"))
    helpers.add("none", NOT_FOUND)
    helpers.add("all", f"case $server in all.io) {says('all', 's2')};; *) {NOT_FOUND};; esac")
    names = ("own.io", "none.io", "all.io", "file.io")
    path = write(
        tmp_path / "config.json",
        auths={name: auth("file", "s3") for name in names},
        credsStore="all",
        credHelpers={"own.io": "own", "none.io": "none"},
    )
    settings = RegistrySettings(credential_files=(path,))
    assert await find(settings, "own.io") == Credential("docker-credential-own", "own", "s:1")
    assert await find(settings, "none.io") == Credential(str(path), "file", "s3")
    assert await find(settings, "all.io") == Credential("docker-credential-all", "all", "s2")
    assert await find(settings, "file.io") == Credential(str(path), "file", "s3")
    assert helpers.asked("own") == ["get own.io"]
    assert helpers.asked("all") == ["get none.io", "get all.io", "get file.io"]


async def test_docker_hub_is_asked_for_by_its_old_address(tmp_path: Path, helpers: Helpers) -> None:
    helpers.add("hub", says("me", "x"))
    path = write(tmp_path / "config.json", credHelpers={HUB: "hub"})
    assert await find(RegistrySettings(credential_files=(path,)), "docker.io") == Credential(
        "docker-credential-hub", "me", "x"
    )
    assert helpers.asked("hub") == [f"get {HUB}"]


async def test_an_identity_token_of_a_helper(tmp_path: Path, helpers: Helpers) -> None:
    helpers.add("id", says("<token>", "it"))
    path = write(tmp_path / "config.json", credsStore="id")
    assert await find(RegistrySettings(credential_files=(path,)), "a.io") == Credential(
        "docker-credential-id", identity_token="it"
    )


async def test_a_helper_runs_once_for_a_registry_and_not_beside_another(tmp_path: Path, helpers: Helpers) -> None:
    helpers.add("one", f"mkdir {tmp_path}/running || exit 1; {says('me', 'x')}; rmdir {tmp_path}/running")
    path = write(tmp_path / "config.json", credsStore="one")
    credentials = Credentials(RegistrySettings(credential_files=(path,)), None, lambda _: None)
    await credentials.load()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(credentials.find(f"r{number % 3}.io", f"app{number}")) for number in range(12)]
    assert {task.result() for task in tasks} == {Credential("docker-credential-one", "me", "x")}
    assert sorted(helpers.asked("one")) == ["get r0.io", "get r1.io", "get r2.io"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'keychain is locked'; exit 1", "keychain is locked"),
        ("""echo '{"Secret":"hidden"}'; exit 2""", "failed"),
        ("echo 'hidden, but no JSON'", "no credential"),
        ("exit 0", "no credential"),
        ("""printf '{"x":'; head -c 200000 /dev/zero | tr '\\0' '['""", "no credential"),
        ("exec sleep 600", "did not answer"),
        ("sleep 600", "did not answer"),
        ("head -c 3000000 /dev/zero", "no credential"),
    ],
)
async def test_a_helper_that_fails_is_told_of_and_passed_over(
    tmp_path: Path, helpers: Helpers, script: str, why: str
) -> None:
    helpers.add("bad", script)
    path = write(tmp_path / "config.json", credsStore="bad", auths={"a.io": auth("file", "x")})
    notices: list[str] = []
    settings = RegistrySettings(credential_files=(path,), credential_helper_timeout=0.5)
    credentials = Credentials(settings, None, notices.append)
    await credentials.load()
    for _ in range(2):
        assert await credentials.find("a.io", "app") == Credential(str(path), "file", "x")
    assert len(notices) == 1
    assert why in notices[0]
    assert "hidden" not in notices[0]


@pytest.mark.parametrize("name", ["missing", "../../bin/sh", "a b", "-x"])
async def test_a_helper_that_is_none(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "config.json", credsStore=name)
    notices: list[str] = []
    credentials = Credentials(RegistrySettings(credential_files=(path,)), None, notices.append)
    await credentials.load()
    assert await credentials.find("a.io", "app") is None
    assert len(notices) == 1


async def test_a_helper_that_knows_only_a_name(tmp_path: Path, helpers: Helpers) -> None:
    helpers.add("empty", says("me", ""))
    path = write(tmp_path / "config.json", credsStore="empty")
    assert await find(RegistrySettings(credential_files=(path,)), "a.io") is None


@pytest.mark.parametrize("by", ["cancellation", "time"])
async def test_a_helper_is_ended_with_all_that_it_started(tmp_path: Path, helpers: Helpers, by: str) -> None:
    os.mkfifo(tmp_path / "held")
    # The helper and its child hold the pipe open for as long as they live.
    helpers.add("slow", f"exec 3> {tmp_path}/held; echo started >&3; sleep 600; echo over")
    path = write(tmp_path / "config.json", credsStore="slow")
    limit = 600 if by == "cancellation" else 0.5
    credentials = Credentials(
        RegistrySettings(credential_files=(path,), credential_helper_timeout=limit), None, lambda _: None
    )
    await credentials.load()
    task = asyncio.ensure_future(credentials.find("a.io", "app"))
    held = await asyncio.to_thread((tmp_path / "held").open)
    with held:
        assert await asyncio.to_thread(held.readline) == "started\n"
        if by == "cancellation":
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() is (by == "cancellation")
        assert await asyncio.to_thread(held.read) == ""
