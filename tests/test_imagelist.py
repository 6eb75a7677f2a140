from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hangar_async import imagelist
from hangar_async.config.shard import Shard
from hangar_async.errors import UsageError
from hangar_async.imagelist import MAX_LIST, parse, read
from tests.refusal import attempt

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_empty_lines_and_comments_are_skipped() -> None:
    found = parse(["\ufeff# list", "", "   ", "// other", "\tnginx:1.22\r", "  # indented"])
    assert [(str(entry.reference), entry.line, entry.text) for entry in found.entries] == [
        ("docker.io/library/nginx:1.22", 5, "nginx:1.22")
    ]
    assert found.invalid == ()


@pytest.mark.parametrize(
    "comment", [" # newest", "\t#newest", " // newest", " # one # two", " # gr\udcf6\udcdfe", "  #"]
)
def test_a_comment_at_the_end_of_a_line_is_skipped(comment: str) -> None:
    found = parse([f" nginx:1.22{comment}"])
    assert [(str(entry.reference), entry.text) for entry in found.entries] == [
        ("docker.io/library/nginx:1.22", "nginx:1.22")
    ]
    assert found.invalid == ()


@pytest.mark.parametrize("line", ["nginx#1", "nginx//1", "nginx:1#newest"])
def test_a_comment_begins_after_white_space(line: str) -> None:
    assert len(parse([line]).invalid) == 1


@pytest.mark.parametrize(
    "line",
    ['"NAME"', '"NAME",', "'NAME'", "`NAME`", "NAME,", "NAME;", "- NAME", "* NAME", '- "NAME"', "- image: NAME",
     "image: NAME", 'image: "NAME" # newest', '"image": "NAME",', '"image":"NAME"', "baseImage: NAME", "FROM NAME",
     "docker pull NAME", "- name: NAME", "container.name: NAME", "[NAME]", "<NAME>", '["NAME"],', "(NAME)", "{NAME}"],
)  # fmt: skip
def test_a_line_of_another_format_is_told_as_it_should_be(line: str) -> None:
    name = f"reg.test:5000/team/app:1@{A}"
    [invalid] = parse([line.replace("NAME", name)]).invalid
    assert invalid.why.endswith(f"is more than the name of an image: write {name}")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a b", "one image a line"),
        ("image: Nginx", "one image a line"),
        ('["a", "b"]', "one image a line"),
        ("image:", "is not an image"),
        ('"', "is not a repository name"),
        ("https://nginx", "has a scheme"),
        ("- " * 2000, "one image a line"),
    ],
)
def test_a_line_without_a_name_in_it_is_told_as_it_is(line: str, why: str) -> None:
    [invalid] = parse([line]).invalid
    assert why in invalid.why
    assert "write a" not in invalid.why


def test_invalid_lines_are_told_with_file_and_line() -> None:
    found = parse(["nginx", "Nginx:1", "a b", "x" * 5000], "list.txt")
    assert len(found.entries) == 1
    assert [str(line).split(": ")[0] for line in found.invalid] == ["list.txt:2", "list.txt:3", "list.txt:4"]
    assert "white space" in str(found.invalid[1])


def test_the_same_image_twice_is_one_entry() -> None:
    found = parse(["nginx", "docker.io/library/nginx:latest", "nginx:latest", "nginx:1"])
    assert len(found.entries) == 2
    assert found.duplicates == 2


def test_another_registry_may_make_lines_equal() -> None:
    found = parse(["quay.io/team/app:1", "ghcr.io/team/app:1", "nginx"], registry="reg:5000")
    assert [str(entry.reference) for entry in found.entries] == ["reg:5000/team/app:1", "reg:5000/library/nginx:latest"]


def test_two_digests_under_one_name_contradict() -> None:
    first, second = parse([f"nginx:1@{A}", f"nginx:1@{B}"]).entries
    assert not first.contradicts
    assert second.contradicts
    assert second.earlier == first


def test_a_tag_and_its_digest_are_told_to_belong_together_only_when_asked() -> None:
    first, second, third = parse(["nginx:1", f"nginx:1@{A}", f"nginx:1@{B}"]).entries
    assert second.earlier == first
    assert not second.contradicts
    assert third.contradicts
    assert third.earlier == second


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"# only\n\n", "all of its lines are comments or blank"),
        (b"A\nB\n", "all 2 lines are invalid"),
        (b"\xff\xfe", "it is empty"),
        (b"\xff", "its one line is invalid"),
    ],
)
def test_a_list_of_nothing_is_a_usage_error(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=told):
        read(path)


@pytest.mark.parametrize("mark", ["\ufeff", ""])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_list_is_read_in_any_encoding_of_unicode(tmp_path: Path, encoding: str, mark: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(f"{mark}nginx:1\r\n# größe\r\nalpine:3\r\n".encode(encoding))
    found = read(path)
    assert [(entry.text, entry.line) for entry in found.entries] == [("nginx:1", 1), ("alpine:3", 3)]
    assert found.invalid == ()


def test_a_byte_that_is_no_text_costs_its_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"nginx:1\n# gr\xf6\xdfe\n  // \xe9\ncaf\xe9:1\nalpine:3\n")
    found = read(path)
    assert [(entry.text, entry.line) for entry in found.entries] == [("nginx:1", 1), ("alpine:3", 5)]
    [invalid] = found.invalid
    assert str(invalid) == f"{path}:4: the byte 0xe9 after 'caf' is not UTF-8: save the list as text in UTF-8"


def test_half_a_character_of_utf_16_costs_its_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xff\xfe" + "nginx:1\nalpine".encode("utf-16-le") + b"\x00")
    found = read(path)
    assert [entry.text for entry in found.entries] == ["nginx:1"]
    assert [line.line for line in found.invalid] == [2]


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read(tmp_path / "none.txt")
    with pytest.raises(UsageError, match="Is a directory"):
        read(tmp_path)


def test_lines_instead_of_a_file() -> None:
    assert len(read(["nginx", "alpine"]).entries) == 2
    assert len(read("nginx").entries) == 1


@given(st.lists(st.text(max_size=40), max_size=8))
def test_any_lines_are_read(lines: list[str]) -> None:
    found = parse(lines)
    assert len(found.entries) + len(found.invalid) + found.duplicates <= len(lines)
    assert all(str(line).isprintable() for line in found.invalid)


_lines = st.from_regex(r"[ \t]*(//|#)?[a-z.:/@-]{0,12}(@sha256:[0-9a-f]{64})?[ \t\r]*", fullmatch=True)


@given(st.lists(_lines, max_size=8))
def test_each_image_is_there_once_and_its_line_is_read_again(lines: list[str]) -> None:
    found = parse(lines)
    assert len({entry.reference for entry in found.entries}) == len(found.entries)
    for entry in found.entries:
        (again,) = parse([entry.text]).entries
        assert again.reference == entry.reference
        assert entry.text == lines[entry.line - 1].strip()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_file_is_read_or_a_usage_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    found = attempt(lambda: read(path), UsageError)
    assert found is None or found.entries


def test_a_list_has_a_bounded_size(tmp_path: Path) -> None:
    path = tmp_path / "list"
    with path.open("wb") as file:
        file.write(b"nginx\n")
        file.truncate(MAX_LIST + 1)
    with pytest.raises(UsageError, match="it has more than 33,554,432 bytes"):
        read(path)
    with pytest.raises(UsageError, match="it has more than"):
        read(Path("/dev/zero"))


def test_a_list_names_a_bounded_number_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    assert imagelist.MAX_LINES == 200_000
    monkeypatch.setattr(imagelist, "MAX_LINES", 2_000)
    lines = (f"{'aA'[number % 2]}{number}" for number in range(2_001))
    with pytest.raises(UsageError, match="image list:2001: a list may name 2,000 images; split it"):
        parse(lines)


def test_shards_of_a_list_have_its_images_once_and_what_is_wrong_is_of_the_first() -> None:
    lines = ["a:1", "a:2", "b:1", "c:1", "b:1", "Bad:x:y", "d:1@sha256:0"]
    whole = parse(lines)
    parts = [read(lines, shard=Shard(number, 3)) for number in range(3)]
    assert sorted((entry for part in parts for entry in part.entries), key=lambda one: one.line) == [*whole.entries]
    repositories = [{entry.reference.name for entry in part.entries} for part in parts]
    assert sum(map(len, repositories)) == len(set().union(*repositories)) == 3
    assert [part.invalid for part in parts] == [whole.invalid, (), ()]
    assert [part.duplicates for part in parts] == [1, 0, 0]
    assert read(lines, shard=None) == parse(lines)
