import pwd
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions
from hangar_async.config.registries import Proxies
from hangar_async.errors import UsageError
from tests.refusal import attempt

NOTHING = Environment()


def test_the_option_wins_over_the_environment() -> None:
    environment = Environment.read({"SOURCE_REGISTRY": "env:5000", "HOME": "/home/u"})
    assert SaveOptions(images=["a"], destination=Path("x"), environment=environment).source_registry == "env:5000"
    assert (
        SaveOptions(images=["a"], destination=Path("x"), source="opt:5000/", environment=environment).source_registry
        == "opt:5000"
    )


def test_credential_files_in_their_order() -> None:
    plain = Environment.read({"HOME": "/h"}).registries.credential_files
    assert plain == (Path("/h/.docker/config.json"), Path("/h/.config/containers/auth.json"))
    everything = Environment.read(
        {"HOME": "/h", "DOCKER_CONFIG": "/d", "REGISTRY_AUTH_FILE": "/r.json", "XDG_RUNTIME_DIR": "/run/1"}
    )
    assert everything.registries.credential_files == (
        Path("/d/config.json"),
        Path("/r.json"),
        Path("/run/1/containers/auth.json"),
        Path("/h/.config/containers/auth.json"),
    )


def test_files_that_the_environment_does_not_name_are_default_ones() -> None:
    plain = Environment.read({"HOME": "/h"}).registries
    assert plain.default_credential_files == set(plain.credential_files)
    named = Environment.read(
        {"HOME": "/h", "DOCKER_CONFIG": "/d", "REGISTRY_AUTH_FILE": "/h/.config/containers/auth.json"}
    )
    assert named.registries.default_credential_files == set()
    runtime = Environment.read({"HOME": "/h", "REGISTRY_AUTH_FILE": "/r.json", "XDG_RUNTIME_DIR": "/run/1"})
    assert set(runtime.registries.credential_files) - runtime.registries.default_credential_files == {Path("/r.json")}


def test_a_user_without_a_home_has_the_root_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert Environment.read({}).registries.credential_files[0] == Path("/.docker/config.json")


def test_proxies() -> None:
    environment = Environment.read({"HTTP_PROXY": "http://a:1", "https_proxy": "http://b:2", "NO_PROXY": "x, .y ,"})
    assert environment.registries.proxies == Proxies("http://a:1", "http://b:2", ("x", ".y"))
    assert Environment.read({"ALL_PROXY": "http://c:3"}).registries.proxies == Proxies("http://c:3", "http://c:3")


def test_the_password_is_not_shown() -> None:
    environment = Environment.read({"SOURCE_USERNAME": "u", "SOURCE_PASSWORD": "geheim"})
    assert environment.registries.password == "geheim"
    assert "geheim" not in repr(environment)
    assert "geheim" not in repr(SaveOptions(images=["a"], destination=Path("x"), environment=environment))


@pytest.mark.parametrize("name", ["SOURCE_USERNAME", "SOURCE_PASSWORD", "DEST_USERNAME", "DEST_PASSWORD"])
@pytest.mark.parametrize("text", ["hidden\n", "hid\tden", "hidden\udcff"])
def test_a_user_or_password_that_cannot_be_sent_is_refused(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"the value of {name} has a line end") as caught:
        Environment.read({name: text})
    assert "hid" not in str(caught.value)


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", str(8**11), "9" * 5000])
def test_an_invalid_source_date_epoch_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        Environment.read({"SOURCE_DATE_EPOCH": text})


def test_source_date_epoch() -> None:
    assert Environment.read({"SOURCE_DATE_EPOCH": "1700000000"}).source_date_epoch == 1700000000
    assert Environment.read({"SOURCE_DATE_EPOCH": ""}).source_date_epoch is None


def test_the_two_sides_have_credentials_of_their_own() -> None:
    values = {
        "DEST_REGISTRY": "dest:5000",
        "DEST_USERNAME": "pusher",
        "DEST_PASSWORD": "secret-d",
        "SOURCE_USERNAME": "puller",
        "SOURCE_PASSWORD": "secret-s",
        "HOME": "/home/u",
        "NO_PROXY": "a",
    }
    environment = Environment.read(values)
    assert environment.destination_registry == "dest:5000"
    assert environment.source_registry is None
    for settings, name, password in (
        (environment.destinations, "pusher", "secret-d"),
        (environment.registries, "puller", "secret-s"),
    ):
        assert (settings.username, settings.password) == (name, password)
        assert settings.proxies == Proxies(bypass=("a",))
        assert Path("/home/u/.docker/config.json") in settings.credential_files
    assert "secret" not in repr(environment)


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"HOME": "/home/u"}, "/home/u/.docker/config.json"),
        ({"HOME": "/home/u", "DOCKER_CONFIG": "/etc/d"}, "/etc/d/config.json"),
        ({"HOME": "/home/u", "DOCKER_CONFIG": ""}, "/home/u/.docker/config.json"),
    ],
)
def test_the_file_of_logins_follows_the_environment(values: dict[str, str], path: str) -> None:
    assert Environment.read(values).login_file == Path(path)
    assert Environment().login_file is None


_names = st.sampled_from(
    ["HOME", "SOURCE_REGISTRY", "SOURCE_USERNAME", "SOURCE_PASSWORD", "SOURCE_DATE_EPOCH", "HTTPS_PROXY", "all_proxy",
     "NO_PROXY", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"]
)  # fmt: skip


_values = st.text(st.characters(exclude_characters="\0"), max_size=20)


@given(st.dictionaries(_names, _values))
def test_any_environment_is_read_or_a_usage_error(environ: dict[str, str]) -> None:
    environment = attempt(lambda: Environment.read(environ), UsageError)
    if environment is None:
        login = environ.get("SOURCE_USERNAME", "") + environ.get("SOURCE_PASSWORD", "")
        wrong_login = any(unicodedata.category(character) in ("Cc", "Cs") for character in login)
        assert wrong_login or not re.fullmatch(r"[0-9]{1,9}", environ["SOURCE_DATE_EPOCH"])
    else:
        assert all(entry == entry.strip() != "" for entry in environment.registries.proxies.bypass)
        assert environment.registries.credential_files
