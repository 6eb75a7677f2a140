"""Names of images at a registry, below a prefix or by a template."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from hangar_async.config.naming import Destination, Template, chosen_naming
from hangar_async.errors import InvalidValue, UsageError
from hangar_async.oci.reference import Reference
from tests.refusal import attempt

DIGEST = "sha256:" + "a" * 64
DEEP = "quay.io:443/one/two/three/four/five/six/seven/eight/nine/ten:1"


@pytest.mark.parametrize(
    ("text", "image", "target"),
    [
        ("reg.lan", "nginx:1", "reg.lan/library/nginx:1"),
        ("reg.lan:5000/", "quay.io/app", "reg.lan:5000/library/app:latest"),
        ("reg.lan/mirror/of", "quay.io/app:1", "reg.lan/mirror/of/app:1"),
        (" reg.lan/mirror ", f"quay.io/team/app@{DIGEST}", f"reg.lan/mirror/team/app:{DIGEST.replace(':', '-')}"),
    ],
)
def test_names_below_a_destination(text: str, image: str, target: str) -> None:
    assert str(Destination.parse(text, "library").target(Reference.parse(image))) == target


@pytest.mark.parametrize(
    ("template", "image", "target"),
    [
        ("reg.lan/{repository}", "nginx:1", "reg.lan/library/nginx:1"),
        ("reg.lan:5000/{registry}/{repository}", "quay.io:443/a/b/c:1", "reg.lan:5000/quay.io-443/a/b/c:1"),
        ("reg.lan/{namespace}-{name}", "quay.io/a/b/c", "reg.lan/a/b-c:latest"),
        ("reg.lan/{name}", f"quay.io/app:1@{DIGEST}", "reg.lan/app:1"),
        ("reg.lan/{2}/{1}/{9}", DEEP, "reg.lan/two/one/nine:1"),
        ("{registry}/mirror/{name}", "quay.io/team/app:1", "quay.io/mirror/app:1"),
        ("docker.io/{name}", "quay.io/team/app:1", "docker.io/library/app:1"),
        ("reg.lan/all", "quay.io/team/app:1", "reg.lan/all:1"),
    ],
)
def test_names_by_a_template(template: str, image: str, target: str) -> None:
    assert str(Template(template).target(Reference.parse(image))) == target


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("reg.lan/{repo}", "{repo} is no field: write {repository}"),
        ("reg.lan/{ Name}", "{ Name} is no field: write {name}"),
        ("reg.lan/{0}", "{0} is no field: write {registry}, {repository}, {namespace}, {name} or {1} to {9}"),
        ("reg.lan/{}", "{} is no field: write {registry}"),
        ("reg.lan/{name}:{tag}", "the tag of an image is kept: leave out {tag}"),
        ("reg.lan/{name}@{digest}", "the digest of an image is kept: leave out {digest}"),
        ("reg.lan/{name", "a brace stands alone: write {FIELD}, such as {repository}"),
        ("reg.lan/{{name}}", "a brace stands alone"),
        ("reg.lan", "it names no repository: write REGISTRY/REPOSITORY, such as registry.local/{repository}"),
        ("", "it names no repository"),
        ("reg.lan/", "an image would be 'reg.lan/': '' is not a repository name"),
        ("reg.lan/{name}:1", "an image would be 'reg.lan/a.a:1': 'a.a:1' is not a repository name"),
        ("reg.lan/Mirror/{name}", "'Mirror/a.a' has upper-case letters"),
        ("https://reg.lan/{name}", "'https:' is not a registry: write HOST or HOST:PORT"),
        ("mirror/{name}", "'mirror' is taken for a part of a name, not for a registry: write mirror:443"),
    ],
)
def test_a_wrong_template_is_refused_when_it_is_made(template: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        Template(template)
    assert str(caught.value).startswith(f"--to {template!r}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("template", "image", "reason"),
    [
        ("reg.lan/{3}", "nginx:1", "docker.io/library/nginx:1 has no {3}: write {1} to {2}"),
        ("reg.lan/{namespace}", "quay.io/app:1", "quay.io/app:1 has no {namespace}: write {repository} or {name}"),
        ("reg.lan/x/{repository}", f"quay.io/{'a' * 255}:1", "is longer than 255 characters"),
        ("{registry}/{name}", "localhost:5000/a:1", "'localhost-5000' is taken for a part of a name"),
        ("reg.lan/{registry}/{name}", "[::1]:5000/a:1", "is not a repository name"),
    ],
)
def test_an_image_that_a_template_makes_no_name_of(template: str, image: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        Template(template).target(Reference.parse(image))
    assert str(caught.value).startswith(f"--to {template!r}: ")
    assert reason in str(caught.value)


def test_a_destination_or_a_template_names_the_images() -> None:
    assert chosen_naming("reg.lan", None, "a") == Destination("reg.lan", "", "a")
    assert chosen_naming(None, "reg.lan/{name}", "a") == Template("reg.lan/{name}")
    assert chosen_naming(None, None, "a") is None
    with pytest.raises(UsageError, match="both say where images go"):
        chosen_naming("reg.lan", "x/{name}", "a")


_PIECES = [
    "reg.lan",
    "/",
    "{registry}",
    "{repository}",
    "{namespace}",
    "{name}",
    "{1}",
    "{9}",
    "{tag}",
    "{",
    "}",
    "a.b",
]


@given(
    st.lists(st.sampled_from(_PIECES) | st.text(max_size=3), max_size=6).map("".join),
    st.sampled_from(["nginx:1", DEEP, "localhost:5000/a", f"quay.io/a/b@{DIGEST}", f"quay.io/a/b:1@{DIGEST}"]),
)
def test_any_template_names_an_image_that_reads_back_or_is_refused(text: str, name: str) -> None:
    image = Reference.parse(name)
    target = attempt(lambda: Template(text).target(image), UsageError)
    if target is not None:
        assert Reference.parse(str(target)) == target
        assert (target.tag, target.digest) == (image.cache_tag, None)


@given(st.text(max_size=12) | st.sampled_from(["reg.lan/a/b", "[::1]:5000", "reg.lan//"]))
def test_any_destination_names_an_image_that_reads_back_or_is_refused(text: str) -> None:
    image = Reference.parse("nginx:1")
    target = attempt(lambda: Destination.parse(text, "library").target(image), UsageError, InvalidValue)
    assert target is None or Reference.parse(str(target)) == target
