import pytest
from hypothesis import given, strategies as st
from yarl import URL

from hangar_async.errors import InvalidValue
from hangar_async.oci.digest import Digest
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
        ("[:::]/a", "is not a registry"),
        ("[1:2]:5000/a", "is not a registry"),
        ("[::1]]/a", "is not a registry"),
        ("a" * 64 + ".io/a", "is not a registry"),
        ("a." * 127 + "io/a", "is not a registry"),
        ("xn--.io/a", "is not a registry"),
        ("a.XN--99999999999/a", "is not a registry"),
        ("name@sha256:abc", "is not a digest"),
        ("a" * 256, "longer than 255"),
        ("a" * 250, "longer than 255"),
        ("\x1b[2J://a/b", "has a scheme"),
        ("x" * 10_000 + "://", "has a scheme"),
        ("x" * 10_000 + ":", "is not an image"),
        ("x" * 10_000 + ".io/a", "is not a registry"),
        ("name:tag:tag", "is not a tag"),
    ],
)
def test_an_invalid_reference_is_refused_with_the_right_form(text: str, told: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Reference.parse(text)
    assert told in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


_component = st.from_regex(r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
_label = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", fullmatch=True)
_host = st.lists(_label, min_size=2, max_size=4).map(".".join) | st.ip_addresses(v=6).map(lambda one: f"[{one}]")
_port = st.integers(1, 65535).map(lambda port: f":{port}")
_registry = st.one_of(
    st.sampled_from(["docker.io", "index.docker.io", "quay.io", "localhost", "localhost:5000", "h:1", "10.0.0.1:5000"]),
    st.builds(str.__add__, _host | _label, _port),
    _host,
).filter(lambda text: "xn--" not in text.lower() and len(text) <= 253)
_digest = st.builds(Digest.of, st.binary(max_size=3), st.sampled_from(["sha256", "sha512"]))
_references = st.builds(
    Reference,
    _registry,
    st.lists(_component, min_size=1, max_size=3).map("/".join),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.none() | _digest,
)


@given(_references)
def test_str_reads_back(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference


@given(_references)
def test_the_names_in_a_cache_lead_back_to_it(reference: Reference) -> None:
    for name in (reference.cache_name, reference.layout_name):
        assert Reference.parse(name).cache_name == reference.cache_name


@given(_registry)
def test_every_registry_can_be_asked(registry: str) -> None:
    normalised = parse_registry(registry)
    assert parse_registry(normalised) == normalised
    for scheme, usual in (("https", 443), ("http", 80)):
        url = URL(f"{scheme}://{normalised}/v2/")
        assert url.host
        port = normalised.rpartition("]")[2].rpartition(":")[2]
        assert url.port == (int(port) if port.isdigit() and normalised.endswith(f":{port}") else usual)


@given(st.text(max_size=60) | st.from_regex(r"[a-z.:/@\[\]0-9-]{1,40}", fullmatch=True))
def test_any_text_is_a_reference_or_an_invalid_value(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidValue:
        return
    assert Reference.parse(str(reference)) == reference


def test_another_registry_comes_after_normalisation() -> None:
    assert str(Reference.parse("nginx").on("reg.io:5000")) == "reg.io:5000/library/nginx:latest"
    assert str(Reference.parse("reg.io/team/app:1").on("other:80")) == "other:80/team/app:1"
    assert str(Reference.parse("quay.io/app:1").on("docker.io")) == "docker.io/library/app:1"


def test_names_in_a_cache() -> None:
    by_digest = Reference.parse(f"quay.io/a/b@sha256:{HEX}")
    assert by_digest.cache_name == f"quay.io/a/b:sha256-{HEX}"
    assert by_digest.layout_name == f"quay.io/a/b@sha256:{HEX}"
    both = Reference.parse(f"quay.io/a/b:t@sha256:{HEX}")
    assert both.cache_name == both.layout_name == "quay.io/a/b:t"
    assert both.tag_or_digest == f"sha256:{HEX}"


def test_a_digest_longer_than_a_tag_is_cut_to_one() -> None:
    reference = Reference.parse(f"quay.io/a@sha512:{'ab' * 64}")
    assert reference.cache_tag == f"sha512-{'ab' * 60}a"
    assert Reference.parse(reference.cache_name).tag == reference.cache_tag


@pytest.mark.parametrize("text", ["", "http://a", "a b", "a/b", "-a", "a:b", "a:99999"])
def test_an_invalid_registry_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="is not a registry"):
        parse_registry(text)


@pytest.mark.parametrize("text", ["harbor", "LOCALHOST", "a-b"])
def test_a_registry_that_reads_as_a_part_of_a_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=f"write {text}:443"):
        parse_registry(text)
    assert str(Reference.parse("a/b").on(f"{text}:443")) == f"{text}:443/a/b:latest"
