from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hangar_async import mirrorlist
from hangar_async.config.naming import MirrorNames
from hangar_async.config.shard import Shard
from hangar_async.errors import UsageError
from hangar_async.imagelist import MAX_LIST
from hangar_async.mirrorlist import MirrorList, has_three_fields, parse, read
from hangar_async.oci.digest import Digest
from hangar_async.oci.reference import Reference
from tests.refusal import attempt, check_told

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
AS_WRITTEN = MirrorNames.parse()
BELOW = MirrorNames.parse(destination="reg.lan:5000/mirror")


def pairs(found: MirrorList) -> list[tuple[str, str]]:
    assert found.invalid == ()
    return [(str(entry.source), str(entry.target)) for entry in found.entries]


@pytest.mark.parametrize(
    ("line", "source", "target"),
    [
        ("rancher/rancher docker.io/rancher/rancher v2.7.0",) + ("docker.io/rancher/rancher:v2.7.0",) * 2,
        ("nginx nginx 1",) + ("docker.io/library/nginx:1",) * 2,
        ("hub/a localhost/a 1", "docker.io/hub/a:1", "localhost/library/a:1"),
        ("quay.io/a/b/c/d  reg.lan:5000/x/y/z\t1", "quay.io/a/b/c/d:1", "reg.lan:5000/x/y/z:1"),
        (" localhost:5000/a\t \treg.lan/p/a 1-b_c # newest", "localhost:5000/a:1-b_c", "reg.lan/p/a:1-b_c"),
        (f"a/b reg.lan/p/a {A}", f"docker.io/a/b@{A}", f"reg.lan/p/a@{A}"),
        (f"a/b reg.lan/p/a 1@{A}", f"docker.io/a/b:1@{A}", "reg.lan/p/a:1"),
    ],
)
def test_a_line_of_three_fields(line: str, source: str, target: str) -> None:
    assert pairs(parse([line], AS_WRITTEN)) == [(source, target)]


@pytest.mark.parametrize(
    ("names", "source", "target"),
    [
        ({"source": "in.lan:5000"}, "in.lan:5000/library/nginx:1", "reg.lan/p/a:1"),
        ({"destination": "out.lan"}, "docker.io/library/nginx:1", "out.lan/p/a:1"),
        ({"destination": "out.lan/x/y"}, "docker.io/library/nginx:1", "out.lan/x/y/p/a:1"),
        ({"source": "in.lan/", "destination": "out.lan"}, "in.lan/library/nginx:1", "out.lan/p/a:1"),
        ({"template": "out.lan/{registry}/{name}"}, "docker.io/library/nginx:1", "reg.lan/p/a:1"),
    ],
)
def test_other_registries_for_a_line_of_three_fields(names: dict[str, str], source: str, target: str) -> None:
    assert pairs(parse(["nginx reg.lan/p/a 1"], MirrorNames.parse(**names))) == [(source, target)]


@pytest.mark.parametrize(
    ("destination", "name", "target"),
    [
        (None, "reg.lan/a", "reg.lan/own/a:1"),
        (None, "a", "docker.io/own/a:1"),
        ("out.lan", "a", "out.lan/own/a:1"),
        ("out.lan/x", "a", "out.lan/x/a:1"),
    ],
)
def test_the_project_of_a_destination_without_one(destination: str | None, name: str, target: str) -> None:
    names = MirrorNames.parse(destination=destination, default_project="own")
    assert pairs(parse([f"x/y {name} 1"], names)) == [("docker.io/x/y:1", target)]


@pytest.mark.parametrize(
    ("line", "source", "target"),
    [
        ("nginx", "docker.io/library/nginx:latest", "reg.lan:5000/mirror/library/nginx:latest"),
        ("reg:5000/a:1", "reg:5000/a:1", "reg.lan:5000/mirror/a:1"),
        (f"quay.io/a/b@{A}", f"quay.io/a/b@{A}", f"reg.lan:5000/mirror/a/b@{A}"),
        (f"quay.io/a/b:1@{A} // pinned", f"quay.io/a/b:1@{A}", "reg.lan:5000/mirror/a/b:1"),
    ],
)
def test_a_line_of_one_image(line: str, source: str, target: str) -> None:
    assert pairs(parse([line], BELOW)) == [(source, target)]


def test_one_image_by_a_template_and_from_another_registry() -> None:
    names = MirrorNames.parse("in.lan:5000", template="out.lan/{registry}/{name}")
    assert pairs(parse(["quay.io/a/b:1"], names)) == [("in.lan:5000/a/b:1", "out.lan/in.lan-5000/b:1")]


def test_both_forms_in_one_list() -> None:
    lines = ["\ufeff# list", "", "// other", "nginx:1\r", "a/b reg.lan/p/a 2"]
    found = parse(lines, BELOW)
    assert [(entry.line, entry.text) for entry in found.entries] == [(4, "nginx:1"), (5, "a/b reg.lan/p/a 2")]
    assert [has_three_fields(entry.text) for entry in found.entries] == [False, True]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a b", "'a b' has 2 fields: write SOURCE DEST TAG, or one image"),
        ("a b c d", "'a b c d' has 4 fields: write SOURCE DEST TAG, or one image"),
        ("a b:1 1", "'b:1' (DEST) is more than a name: write [REGISTRY/]NAME, and the tag as third field"),
        (f"a b@{A} 1", "(DEST) is more than a name"),
        ("a:1 b 1", "'a:1' (SOURCE) is more than a name"),
        ("a b -1", "'-1' is not a tag: write up to 128"),
        ("a b sha256:12", "'sha256:12' is not a digest: write sha256: and 64"),
        (f"a b @{A}", f"'@{A}' is no third field: write TAG, DIGEST or TAG@DIGEST"),
        ("a b 1@", "'1@' is no third field"),
        ("a b 1@2", "'2:' is not a digest"),
        ("A b 1", "repository names are lower case ('a')"),
        ("a https://reg/b 1", "has a scheme: leave out https://"),
        ("a reg:x/b 1", "'reg:x' is not a registry"),
        ("- image: nginx:1", "is more than the name of an image: write nginx:1"),
        ("a b " + "c" * 5000, "is longer than 4096 characters"),
        ("caf\udce9 b 1", "the byte 0xe9 after 'caf' is not UTF-8"),
        ("nginx", "'nginx' has no destination: write SOURCE DEST TAG, or name one with --destination or --to"),
    ],
)
def test_a_wrong_line_is_kept_with_what_would_be_right(line: str, why: str) -> None:
    found = parse(["x/y reg.lan/z 1", line], AS_WRITTEN, "list.txt")
    assert len(found.entries) == 1
    [invalid] = found.invalid
    assert str(invalid).startswith("list.txt:2: ")
    assert why in str(invalid)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ({"source": "https://x"}, "--source: 'https://x' is not a registry"),
        ({"destination": "x"}, "--destination: 'x' is taken for a part of a name"),
        ({"default_project": "A"}, "--default-project: 'A' has upper-case letters"),
        ({"destination": "x.lan", "template": "x.lan/{name}"}, "both say where images go"),
        ({"template": "x.lan/{nam}"}, "--to 'x.lan/{nam}': {nam} is no field: write {name}"),
    ],
)
def test_names_that_cannot_be_are_a_usage_error(names: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        MirrorNames.parse(**names)
    assert why in str(caught.value)


def test_an_image_that_the_template_makes_no_name_of_is_a_usage_error() -> None:
    names = MirrorNames.parse(template="reg.lan/{3}")
    with pytest.raises(UsageError, match=r"^list:2: --to 'reg\.lan/\{3\}': quay\.io/a/b:1 has no \{3\}: write"):
        parse(["quay.io/a/b/c:1", "quay.io/a/b:1"], names, "list")


def test_the_same_copy_twice_is_one_entry() -> None:
    found = parse(["nginx nginx 1", "docker.io/library/nginx  docker.io/nginx 1", "nginx x 1"], AS_WRITTEN)
    assert [entry.line for entry in found.entries] == [1, 3]
    assert found.duplicates == 1


def test_two_lines_of_one_target_conflict_when_their_digests_differ() -> None:
    lines = ["a/a x.lan/p/x 1", "b/b x.lan/p/x 1", f"c/c x.lan/p/x 1@{A}", "d/d x.lan/p/x 1", "a/a x.lan/p/y 1"]
    found = parse([*lines, f"a/a x.lan/p/z {A}", f"b/b x.lan/p/z {A}"], AS_WRITTEN, "list")
    assert [[entry.line for entry in group] for group in found.shared_targets] == [[1, 2, 3, 4], [6, 7]]
    a, b, d = (Reference.parse(f"{name}:1") for name in ("a/a", "b/b", "d/d"))
    one, other = Digest.parse(A), Digest.parse(B)
    assert list(found.conflicts({a: one, b: one, d: one})) == []
    assert list(found.conflicts({a: one, d: one})) == []
    assert list(found.conflicts({b: one})) == []
    assert [str(conflict) for conflict in found.conflicts({a: one, b: other, d: one})] == [
        "list:1 and list:2 would both be x.lan/p/x:1, and docker.io/a/a:1 and docker.io/b/b:1 differ"
    ]
    assert [str(conflict).partition(" would")[0] for conflict in found.conflicts({b: other, d: other})] == [
        "list:2 and list:3"
    ]


def test_a_list_is_read_from_a_file_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffa b 1\r\nc d 2\r\n".encode("utf-16-le"))
    assert [entry.line for entry in read(path, AS_WRITTEN).entries] == [1, 2]
    path.write_bytes(b"a b\nnginx\n")
    with pytest.raises(
        UsageError, match=r"list\.txt names no image: all 2 lines are invalid; .*list\.txt:1: 'a b' has"
    ):
        read(path, AS_WRITTEN)
    with path.open("wb") as file:
        file.truncate(MAX_LIST + 1)
    with pytest.raises(UsageError, match="it has more than 33,554,432 bytes"):
        read(path, AS_WRITTEN)
    monkeypatch.setattr(mirrorlist, "MAX_LINES", 2)
    with pytest.raises(UsageError, match="list:4: a list may name 2 images; split it"):
        parse(["a b 1", "a b 1", "a b", "a c 1"], AS_WRITTEN, "list")


_WORD = st.sampled_from(["a", "A", "x/y", "reg.lan:5000/a/b", "a:1", "1", f"1@{A}", A, "@", "- image:", "[::1]:1/a"])
_LINE = st.lists(_WORD | st.text(max_size=6), max_size=4).map("\t ".join) | st.text(max_size=40)
_NAMES = st.sampled_from([AS_WRITTEN, BELOW, MirrorNames.parse("in.lan", template="out.lan/{registry}/{repository}")])


@given(st.lists(_LINE, max_size=6), _NAMES)
def test_any_lines_are_read_and_read_back(lines: list[str], names: MirrorNames) -> None:
    found = attempt(lambda: parse(lines, names), UsageError)
    if found is None:
        return
    assert len(found.entries) + len(found.invalid) + found.duplicates <= len(lines)
    for line in found.invalid:
        check_told(ValueError(str(line)))
    for entry in found.entries:
        assert parse([entry.text], names).entries[0].target == entry.target
        assert entry.target.cache_tag == entry.source.cache_tag
        # The pair as three fields is the same pair.
        tag = "@".join(str(part) for part in (entry.source.tag, entry.source.digest) if part is not None)
        written = f"{entry.source.name} {entry.target.name} {tag}"
        [again] = parse([written], MirrorNames()).entries
        assert (again.source, again.target) == (entry.source, entry.target)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_file_is_read_or_a_usage_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    found = attempt(lambda: read(path, BELOW), UsageError)
    assert found is None or found.entries


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("stuvwx")), min_size=1), st.integers(1, 9))
def test_no_two_shards_write_one_repository(names: list[tuple[str, str]], count: int) -> None:
    lines = [f"{source} reg.lan/{target} {number}" for number, (source, target) in enumerate(names)]
    parts = [read(lines, AS_WRITTEN, shard=Shard(number, count)) for number in range(count)]
    found = [entry for part in parts for entry in part.entries]
    assert sorted(found, key=lambda entry: entry.line) == [*parse(lines, AS_WRITTEN).entries]
    written = [{entry.target.name for entry in part.entries} for part in parts]
    assert sum(map(len, written)) == len(set().union(*written))
