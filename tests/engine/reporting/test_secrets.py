"""Nothing in a report is a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.options import LoginOptions, SaveOptions
from hangar_async.config.registries import Mirror, Mirrors, Proxies, RegistrySettings, Route
from hangar_async.config.target_options import LoadOptions
from hangar_async.engine.reporting.secrets import public_options, without_secrets

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://user:hunter2@reg.example.com/a", "https://***@reg.example.com/a"),
        ("'http://user:p@ss@proxy:3128' is wrong", "'http://***@proxy:3128' is wrong"),
        ("user:hunter2@reg.example.com/a:1", "user:***@reg.example.com/a:1"),
        ("GET https://s3.example.com/b?X-Amz-Signature=hunter2&x=1 failed", "GET https://s3.example.com/b?*** failed"),
        ("http://me:hunter2/x@proxy:3128", "http://***@proxy:3128"),
        (f"https://reg.example.com/v2/app:1@{DIGEST}?x=hunter2", f"https://reg.example.com/v2/app:1@{DIGEST}?***"),
        ("https://reg.example.com/?", "https://reg.example.com/?"),
        ("mail me@example.com: now", "mail me@example.com: now"),
        ("Authorization: Bearer hunter2hunter2", "Authorization: Bearer ***"),
        ("Authorization: Basic aHVudGVyMg==", "Authorization: Basic ***"),
        (f"reg.example.com:5000/team/app:1.2@{DIGEST}", f"reg.example.com:5000/team/app:1.2@{DIGEST}"),
        (f"app:1@{DIGEST}", f"app:1@{DIGEST}"),
        ("basic images are here", "basic images are here"),
        ("list \udcff.txt", "list \\udcff.txt"),
    ],
)
def test_text_has_no_secret_and_keeps_names(text: str, clean: str) -> None:
    assert without_secrets(text) == clean


def test_a_long_text_takes_no_longer_than_its_length() -> None:
    for piece in ("a:", "a@", "a://", "a", "Bearer "):
        assert len(without_secrets(piece * 50_000)) > 5


SETTINGS = RegistrySettings(
    username="robot",
    password="hunter2",
    proxies=Proxies("http://me:hunter2@proxy", "http://me:hunter2@proxy"),
    mirrors=Mirrors((Route("docker.io", (Mirror("mirror.example.com"),)),)),
    limit_rate=5,
)
ENVIRONMENT = Environment(source_registry="reg.example.com", registries=SETTINGS, destinations=SETTINGS)


def test_options_are_told_without_the_environment_and_the_lines_of_a_list() -> None:
    given = SaveOptions(
        images=["a:1", "b:1"], destination=Path("out"), architectures=["amd64"], environment=ENVIRONMENT, report=print
    )
    found = public_options(given)
    assert "hunter2" not in repr(found)
    assert "proxy" not in repr(found)
    assert {"environment", "report", "sync"}.isdisjoint(found)
    assert found | {"images": "image list", "architectures": ["amd64"], "source": None, "jobs": 1} == found
    assert found | {"limit_rate": 5, "tls_verify": True, "source_registry": "reg.example.com"} == found
    assert public_options(SaveOptions(images=Path("list.txt"), destination=Path("out")))["images"] == "list.txt"
    assert public_options(SaveOptions(images=["a"], list_name="standard input", destination=Path("out")))["images"] == (
        "standard input"
    )


def test_options_of_a_load_are_those_of_its_target() -> None:
    environment = Environment(destinations=RegistrySettings(stall_timeout=7.0))
    found = public_options(LoadOptions(source=Path("a"), destination="reg.example.com/x", environment=environment))
    assert found | {"source": "a", "destination": "reg.example.com/x", "stall_timeout": 7.0, "images": []} == found


def test_an_option_that_repr_does_not_show_is_left_out() -> None:
    assert public_options(LoginOptions("reg", "me", "hunter2")).get("password") is None
