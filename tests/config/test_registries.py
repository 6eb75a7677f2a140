from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hangar_async.config.registries import Mirrors, join_routes, parse_mirror, read_registries_conf
from hangar_async.errors import InvalidValue, UsageError
from hangar_async.oci.reference import Reference

DIGEST = f"sha256:{'a' * 64}"


def named(mirrors: Mirrors, image: str) -> list[str]:
    return [str(source) for source in mirrors.sources(Reference.parse(image))]


def test_without_mirrors_there_is_the_registry_alone() -> None:
    assert named(Mirrors(), "nginx:1") == ["docker.io/library/nginx:1"]


def test_mirrors_come_in_order_and_the_registry_last() -> None:
    mirrors = join_routes(map(parse_mirror, ["docker.io=one:5000", "quay.io=quay.local/q", "index.docker.io=two/hub/"]))
    assert named(mirrors, "nginx:1") == [
        "one:5000/library/nginx:1",
        "two:443/hub/library/nginx:1",
        "docker.io/library/nginx:1",
    ]
    assert named(mirrors, f"quay.io/a/b@{DIGEST}") == [f"quay.local/q/a/b@{DIGEST}", f"quay.io/a/b@{DIGEST}"]
    assert named(mirrors, "ghcr.io/a/b:1") == ["ghcr.io/a/b:1"]


def test_the_longest_prefix_counts_and_whole_components_alone() -> None:
    mirrors = join_routes(map(parse_mirror, ["reg.io=all.local", "reg.io/team=team.local/x"]))
    assert named(mirrors, "reg.io/team/app:1")[0] == "team.local/x/app:1"
    assert named(mirrors, "reg.io/teams/app:1")[0] == "all.local/teams/app:1"
    assert named(mirrors, "reg.io.evil/app:1") == ["reg.io.evil/app:1"]


@pytest.mark.parametrize("text", ["", "docker.io", "=x", "docker.io=", "docker.io=http://x", "a b=c", "reg.io/UPPER=x"])
def test_an_invalid_mirror_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_mirror(text)


CONF = """
unqualified-search-registries = ["docker.io"]
short-name-mode = "enforcing"

[[registry]]
prefix = "docker.io"
location = "hub.local:5000/cache"
insecure = true
[[registry.mirror]]
location = "near:5000"
insecure = true
[[registry.mirror]]
location = "far/docker"
pull-from-mirror = "digest-only"

[[registry]]
location = "quay.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "q.local"

[[registry]]
prefix = "*.example.com"
[[registry.mirror]]
location = "wild"

[[registry]]
location = "bad.io"
blocked = true
"""


def test_a_registries_conf(tmp_path: Path) -> None:
    path = tmp_path / "registries.conf"
    path.write_text(CONF)
    mirrors = read_registries_conf(path)
    assert named(mirrors, "nginx:1") == ["near:5000/library/nginx:1", "hub.local:5000/cache/library/nginx:1"]
    assert named(mirrors, f"nginx@{DIGEST}")[1] == f"far:443/docker/library/nginx@{DIGEST}"
    assert named(mirrors, "quay.io/a:1") == ["quay.io/a:1"]
    assert named(mirrors, f"quay.io/a@{DIGEST}") == [f"q.local/a@{DIGEST}", f"quay.io/a@{DIGEST}"]
    assert named(mirrors, "a.example.com/b/c:1") == ["wild:443/b/c:1", "a.example.com/b/c:1"]
    assert named(mirrors, "example.com/b:1") == ["example.com/b:1"]
    assert mirrors.insecure == {"near:5000", "hub.local:5000"}
    with pytest.raises(UsageError, match=r"block bad\.io"):
        named(mirrors, "bad.io/a:1")


@pytest.mark.parametrize(
    "text",
    [
        "[[registry]",
        "[[registry]]\n",
        "[[registry]]\nlocation = 5\n",
        '[[registry]]\nlocation = "a b"\n',
        '[[registry]]\nlocation = "x"\n[[registry.mirror]]\nlocation = "http://y"\n',
        '[[registry]]\nlocation = "x"\n[[registry.mirror]]\nlocation = "y"\npull-from-mirror = "never"\n',
        "\xff",
    ],
)
def test_a_file_that_makes_no_sense_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "registries.conf"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=r"cannot read the mirrors in .*registries\.conf: "):
        read_registries_conf(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere: No such file"):
        read_registries_conf(tmp_path / "nowhere")


@given(st.text(max_size=60))
def test_any_text_is_a_mirror_or_an_error(text: str) -> None:
    try:
        route = parse_mirror(text)
    except InvalidValue:
        return
    sources = join_routes([route]).sources(Reference.parse("docker.io/library/nginx:1"))
    assert sources[-1] == Reference.parse("nginx:1")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'[[registry]]\nlocation = "a.io"\n' + b"#" * (4 << 20), "more than 4,194,304 bytes"),
        (b"a = " + b"[" * 100_000, "nested too deep"),
        (b'[[registry]]\nlocation = "a.io"\n' * 10_001, "more than 10,000 registries and mirrors"),
        (
            b'[[registry]]\nlocation = "a.io"\nmirror = [' + b'{location="b.io"},' * 10_000 + b"]\n",
            "more than 10,000 registries and mirrors",
        ),
    ],
)
def test_the_settings_of_mirrors_have_bounds(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "registries.conf"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=problem) as caught:
        read_registries_conf(path)
    assert str(path) in str(caught.value)
