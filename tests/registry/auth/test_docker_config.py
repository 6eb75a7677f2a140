from __future__ import annotations

import base64
import json
import traceback
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import CredentialError, UsageError
from hangar_async.registry.auth.docker_config import Credential, parse_credential_file
from hangar_async.registry.client import RegistryClient
from tests.refusal import attempt
from tests.registry.auth.rig import HUB, auth, find, texts, write


@pytest.mark.parametrize(
    "key",
    ["reg.io:5000", "https://reg.io:5000", "https://reg.io:5000/", "http://reg.io:5000/v1/", "https://reg.io:5000/v2/",
     "reg.io:5000/v1", "reg.io:5000/"],
)  # fmt: skip
async def test_a_registry_is_found_by_all_its_names(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "config.json", auths={key: auth("me", "pa:ss:")})
    settings = RegistrySettings(credential_files=(path,))
    assert await find(settings, "reg.io:5000") == Credential(str(path), "me", "pa:ss:")
    assert await find(settings, "reg.io") is None
    assert await find(settings, "reg.io:50001") is None


async def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """As Windows editors and PowerShell write it."""
    path = write(tmp_path / "config.json", auths={"reg.io": auth("me", "x")})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert await find(RegistrySettings(credential_files=(path,)), "reg.io") == Credential(str(path), "me", "x")


@pytest.mark.parametrize("key", [HUB, "docker.io", "index.docker.io", "registry-1.docker.io", "https://docker.io"])
async def test_docker_hub_is_found_by_all_its_names(tmp_path: Path, key: str) -> None:
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


#: The keys of one registry, best first.
REGISTRY_KEYS = ("reg.io", "https://reg.io", "https://reg.io/v1/", "https://reg.io/v2/", "http://reg.io")
HUB_KEYS = (HUB, "docker.io", "index.docker.io", "https://docker.io")


@pytest.mark.parametrize(("registry", "keys"), [("reg.io", REGISTRY_KEYS), ("docker.io", HUB_KEYS)])
async def test_the_plainest_key_of_a_registry_wins_wherever_it_stands(
    tmp_path: Path, registry: str, keys: tuple[str, ...]
) -> None:
    for first, wins in enumerate(keys):
        path = write(tmp_path / "config.json", auths={key: auth("me", key) for key in reversed(keys[first:])})
        assert await find(RegistrySettings(credential_files=(path,)), registry) == Credential(str(path), "me", wins)
        helpers = {key: str(number) for number, key in reversed([*enumerate(keys)][first:])}
        path = write(tmp_path / "config.json", credHelpers=helpers)
        assert parse_credential_file(path.read_bytes(), path).helpers_for(registry) == (str(first),)
    path = write(tmp_path / "config.json", auths={keys[0]: {}, keys[1]: auth("second", "x")})
    assert await find(RegistrySettings(credential_files=(path,)), registry) == Credential(str(path), "second", "x")


async def test_a_key_with_a_path_wins_over_all_keys_of_the_host(tmp_path: Path) -> None:
    keys = (*REGISTRY_KEYS, "reg.io/team")
    for order in (keys, keys[::-1]):
        path = write(tmp_path / "config.json", auths={key: auth("me", key) for key in order})
        found = await find(RegistrySettings(credential_files=(path,)), "reg.io")
        assert found == Credential(str(path), "me", "reg.io/team")


async def test_keys_of_docker_hub_for_its_tokens_are_no_keys_of_the_registry(tmp_path: Path) -> None:
    keys = (f"{HUB}access-token", f"{HUB}refresh-token")
    path = write(tmp_path / "config.json", auths={key: auth("token", "x") for key in keys})
    settings = RegistrySettings(credential_files=(path,))
    assert await find(settings, "docker.io", "library/nginx") is None
    assert parse_credential_file(path.read_bytes(), path).keys_of("docker.io") == ()


async def test_plain_fields_and_tokens_are_read(tmp_path: Path) -> None:
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
    [b"{", b"\xff\xfe\x00", b'{"auths": []}', b"{}{}", b'{"credsStore": 5}', b"[" * 100_000],
)  # fmt: skip
async def test_a_broken_file_is_named_before_work_begins(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        async with RegistryClient(RegistrySettings(credential_files=(path,))):
            raise AssertionError
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    ["c2VjcmV0", 5, {"auth": "c2VjcmV0"}, {"auth": "%%%"}, {"auth": 5}, {"auth": "Y: c2VjcmV0"}, {"password": []}],
)
async def test_a_broken_entry_is_named_when_it_is_used(tmp_path: Path, entry: object) -> None:
    path = write(tmp_path / "config.json", auths={"a.io": entry, "b.io": auth("me", "x"), "b.io/team": entry})
    settings = RegistrySettings(credential_files=(path,))
    assert await find(settings, "b.io", "other/app") == Credential(str(path), "me", "x")
    assert await find(settings, "c.io") is None
    for registry, key in (("a.io", "'a.io'"), ("b.io", "'b.io/team'")):
        with pytest.raises(CredentialError, match=key) as caught:
            await find(settings, registry)
        assert str(path) in str(caught.value)
        assert "c2VjcmV0" not in "".join(traceback.format_exception(caught.value))
        assert not caught.value.transient


async def test_a_broken_helper_is_named_when_it_is_used(tmp_path: Path) -> None:
    path = write(tmp_path / "config.json", credHelpers={"a.io": 5}, auths={"b.io": auth("me", "x")})
    settings = RegistrySettings(credential_files=(path,))
    assert await find(settings, "b.io") == Credential(str(path), "me", "x")
    with pytest.raises(CredentialError, match=r"helper of 'a\.io'"):
        await find(settings, "a.io")


@pytest.mark.parametrize(
    "text", ["hid\nden", "hidden\n", "hid\rden", "hid\x00den", "hid\x1bden", "hid\x7fden", "hid\x85den"]
)
@pytest.mark.parametrize("name", ["username", "password", "identitytoken", "registrytoken"])
async def test_a_secret_that_cannot_be_sent_is_refused_when_it_is_read(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path / "config.json", auths={"a.io": {name: text}, "b.io": auth("me", "x")})
    settings = RegistrySettings(credential_files=(path,))
    assert await find(settings, "b.io") == Credential(str(path), "me", "x")
    with pytest.raises(CredentialError, match=f"the entry 'a.io': the .* from {path} has a line end") as caught:
        await find(settings, "a.io")
    assert "hid" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("token", ["hidden hidden", "hidd\u00e9n"])
async def test_a_registry_token_that_no_header_can_have_is_refused(tmp_path: Path, token: str) -> None:
    path = write(tmp_path / "config.json", auths={"a.io": {"registrytoken": token}})
    with pytest.raises(CredentialError, match="no header can have") as caught:
        await find(RegistrySettings(credential_files=(path,)), "a.io")
    assert "hid" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_line_ends_in_base64_are_ignored(tmp_path: Path, end: str) -> None:
    encoded = auth("me", "a long password")["auth"]
    path = write(tmp_path / "config.json", auths={"a.io": {"auth": f"{encoded[:8]}{end}{encoded[8:]}{end}"}})
    assert await find(RegistrySettings(credential_files=(path,)), "a.io") == Credential(
        str(path), "me", "a long password"
    )


async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=str(tmp_path)):
        await find(RegistrySettings(credential_files=(tmp_path,)), "a.io")


@given(texts().filter(lambda text: ":" not in text), texts())
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
def test_an_entry_is_never_shown_in_an_error(start: bytes, secret: bytes) -> None:
    for entry in (base64.b64encode(start + secret).decode(), (start + secret).decode("latin-1")):
        content = json.dumps({"auths": {"a.io": {"auth": entry}}}).encode()
        try:
            told = repr(file := parse_credential_file(content, Path("c")))
            file.entry_for("a.io", "x")
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
        assert all(attempt(lambda: found.helpers_for("docker.io"), CredentialError) or ())
        attempt(lambda: found.entry_for("docker.io", "library/x"), CredentialError)


def test_no_secret_is_shown() -> None:
    assert "secret" not in repr(Credential("file", "user-secret", "secret", "secret", "secret"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"auths":{}}' + b" " * (16 << 20), "more than 16,777,216 bytes"),
        (b'{"auths":[' + b"0," * (1 << 19) + b"0]}", "more than 524,288 values"),
        (b'{"auths":{"a":' + b"[" * 100_000, "not JSON"),
    ],
)
async def test_a_file_has_bounds(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content + b"\n")
    with pytest.raises(UsageError, match=problem) as caught:
        await find(RegistrySettings(credential_files=(path,)), "a.io")
    assert str(path) in str(caught.value)
