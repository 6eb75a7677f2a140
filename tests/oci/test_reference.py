import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.errors import InvalidValue
from hangar_async.oci.reference import Reference, parse_registry

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.22", "docker.io/library/nginx:1.22"),
        ("rancher/rancher:v2.7.1", "docker.io/rancher/rancher:v2.7.1"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/a/b:c", "docker.io/a/b:c"),
        ("registry-1.docker.io/library/a", "docker.io/library/a:latest"),
        ("quay.io/one", "quay.io/one:latest"),
        ("localhost/one", "localhost/one:latest"),
        ("host:5000/name:tag", "host:5000/name:tag"),
        ("127.0.0.1:5000/a/b/c:1", "127.0.0.1:5000/a/b/c:1"),
        ("[::1]:5000/a:1", "[::1]:5000/a:1"),
        (f"name@sha256:{HEX}", f"docker.io/library/name@sha256:{HEX}"),
        (f"h:1/n:t@sha256:{HEX}", f"h:1/n:t@sha256:{HEX}"),
        ("a__b/c-d/e.f:T_1", "docker.io/a__b/c-d/e.f:T_1"),
    ],
)
def test_valid_references(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Nginx", "'nginx'"),
        ("host:5000/Team/App:1", "upper-case"),
        ("https://host/name", "leave out https://"),
        ("name:", "is not an image"),
        (":tag", "is not an image"),
        ("name@", "is not an image"),
        ("name:-tag", "is not a tag"),
        ("name:" + "t" * 129, "is not a tag"),
        ("a//b", "is not a repository name"),
        ("a/../b", "is not a repository name"),
        ("host:0/a", "is not a registry"),
        ("host:65536/a", "is not a registry"),
        ("name@sha256:abc", "is not a digest"),
        ("a" * 256, "longer than 255"),
        ("name:tag:tag", "is not a tag"),
    ],
)
def test_what_is_no_reference_is_told_what_would_be_right(text: str, told: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Reference.parse(text)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


_component = st.from_regex(r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
_registry = st.sampled_from(["docker.io", "quay.io", "localhost", "localhost:5000", "h:1", "10.0.0.1:5000", "[::1]:80"])
_references = st.builds(
    Reference,
    _registry,
    st.lists(_component, min_size=1, max_size=3).map("/".join),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.none() | st.just(Reference.parse(f"a@sha256:{HEX}").digest),
)


@given(_references)
def test_str_reads_back(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_an_invalid_value(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidValue:
        return
    assert Reference.parse(str(reference)) == reference


def test_another_registry_comes_after_normalisation() -> None:
    assert str(Reference.parse("nginx").on("reg.io:5000")) == "reg.io:5000/library/nginx:latest"
    assert str(Reference.parse("reg.io/team/app:1").on("other")) == "other/team/app:1"
    assert str(Reference.parse("quay.io/app:1").on("docker.io")) == "docker.io/library/app:1"


def test_names_in_a_cache() -> None:
    by_digest = Reference.parse(f"quay.io/a/b@sha256:{HEX}")
    assert by_digest.cache_name == f"quay.io/a/b:sha256-{HEX}"
    assert by_digest.layout_name == f"quay.io/a/b@sha256:{HEX}"
    both = Reference.parse(f"quay.io/a/b:t@sha256:{HEX}")
    assert both.cache_name == both.layout_name == "quay.io/a/b:t"
    assert both.tag_or_digest == f"sha256:{HEX}"


@pytest.mark.parametrize("text", ["", "http://a", "a b", "a/b", "-a", "a:b", "a:99999"])
def test_what_is_no_registry(text: str) -> None:
    with pytest.raises(InvalidValue, match="is not a registry"):
        parse_registry(text)
