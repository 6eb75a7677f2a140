"""`convert_list`: lines of images to lines `SOURCE DEST TAG`; the others stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hangar_async.config.naming import MirrorNames
from hangar_async.config.target_options import ConvertListOptions
from hangar_async.engine.convert import convert_list, mirror_line
from hangar_async.engine.events import Event, Notice
from hangar_async.errors import InvalidValue, UsageError
from hangar_async.mirrorlist import parse
from tests.refusal import attempt

A = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "source", "destination", "line"),
    [
        # As Hangar 1.6 writes them.
        ("rancher/rancher:v2.7.0", None, None, "rancher/rancher docker.io/rancher/rancher v2.7.0"),
        ("rancher/rancher", None, None, "rancher/rancher docker.io/rancher/rancher latest"),
        ("nginx:1", None, None, "nginx docker.io/nginx 1"),
        ("rancher/rancher:v1", "in.lan", "out.lan", "in.lan/rancher/rancher out.lan/rancher/rancher v1"),
        ("rancher/rancher:v1", None, "out.lan:5000", "rancher/rancher out.lan:5000/rancher/rancher v1"),
        ("reg.io/user/nginx:1", None, None, "reg.io/user/nginx reg.io/user/nginx 1"),
        ("reg.io/user/nginx:1", "in.lan", "out.lan", "in.lan/user/nginx out.lan/user/nginx 1"),
        ("reg.io/nginx:1", "in.lan", "out.lan", "in.lan/nginx out.lan/nginx 1"),
        # Hangar loses these.
        ("reg:5000/a:1", None, None, "reg:5000/a reg:5000/a 1"),
        (f"a@{A}", None, None, f"a docker.io/a {A}"),
        (f"a/b:1@{A}", None, "out.lan/x", f"a/b out.lan/x/a/b 1@{A}"),
        ("localhost/a", None, None, "localhost/a localhost/a latest"),
        # Hangar adds this when it reads them.
        ("nginx:1", "in.lan", "out.lan", "in.lan/library/nginx out.lan/library/nginx 1"),
    ],
)
def test_the_line_of_an_image(image: str, source: str | None, destination: str | None, line: str) -> None:
    assert mirror_line(image, MirrorNames.parse(source, destination, default_project="")) == line


LIST = b"\xef\xbb\xbf# gr\xf6\xdfe\r\n\n\tnginx:1 # newest\r\n  // kept\n a\tb  c\nNginx\na b\nx y:1 1\nquay.io/a"


async def test_what_is_no_image_stays_and_an_invalid_line_is_a_comment(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(LIST)
    events: list[Event] = []
    done = await convert_list(ConvertListOptions(images=path), events.append)
    assert (done.path, done.converted, done.kept, done.status) == (tmp_path / "list.txt.converted", 2, 1, 1)
    written = done.path.read_bytes().split(b"\n")
    assert written[:5] == [b"# gr\xf6\xdfe", b"", b"nginx docker.io/nginx 1 # newest", b"  // kept", b" a\tb  c"]
    assert written[8:] == [b"quay.io/a quay.io/a latest", b""]
    told = [str(line) for line in done.invalid]
    assert [f"# {line}".encode() for line in told] == written[5:8]
    assert [event.text for event in events if isinstance(event, Notice)] == told
    assert [line.partition(": ")[0] for line in told] == [f"{path}:{number}" for number in (6, 7, 8)]
    assert [os.listdir(tmp_path).count(name) for name in ("list.txt", "list.txt.converted")] == [1, 1]
    assert len(os.listdir(tmp_path)) == 2
    # What was written is a mirror list, which stays as it is when it is converted.
    again = await convert_list(ConvertListOptions(images=done.path, destination="out.lan"))
    assert (again.converted, again.kept, again.status) == (0, 3, 0)
    assert again.path.read_bytes() == done.path.read_bytes()


async def test_an_output_that_names_the_input_is_refused(tmp_path: Path) -> None:
    path, link = tmp_path / "list.txt", tmp_path / "link"
    path.write_bytes(b"nginx\n")
    link.symlink_to(path)
    for output in (path, tmp_path / "." / "list.txt", link):
        with pytest.raises(UsageError, match="would replace"):
            await convert_list(ConvertListOptions(images=path, output=output))
    assert path.read_bytes() == b"nginx\n"


async def test_a_list_without_a_right_line_leaves_no_output(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    for content, why in ((b"# only\n", "comments or blank"), (b"Nginx\n", r"its one line is invalid; .*list\.txt:1: ")):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=why):
            await convert_list(ConvertListOptions(images=path))
    with pytest.raises(UsageError, match="is a directory: name a file"):
        await convert_list(ConvertListOptions(images=path, output=tmp_path))
    assert os.listdir(tmp_path) == ["list.txt"]


async def test_lines_are_converted_into_a_file_that_is_named(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_bytes(b"earlier")
    done = await convert_list(ConvertListOptions(images=["nginx"], output=output, source="in.lan"))
    assert (output.read_text(), done.status) == ("in.lan/library/nginx docker.io/nginx latest\n", 0)
    with pytest.raises(UsageError, match="write --output"):
        ConvertListOptions(images=["nginx"])


_IMAGE = st.from_regex(r"([a-z]{1,3}\.lan(:[1-9])?/)?([a-z]{1,2}/){0,3}[a-z]{1,2}(:[a-z0-9]{1,2})?", fullmatch=True)
_NAME = st.builds(lambda image, digest: image + digest, _IMAGE, st.sampled_from(["", f"@{A}"])) | st.text(max_size=20)


@given(_NAME, st.sampled_from([None, "in.lan:5000"]), st.sampled_from([None, "out.lan", "out.lan/x"]))
def test_a_converted_line_names_what_the_image_did(image: str, source: str | None, destination: str | None) -> None:
    names = MirrorNames.parse(source, destination, default_project="")
    line = attempt(lambda: mirror_line(image.strip(), names), InvalidValue)
    if line is None:
        return
    [entry] = parse([line], MirrorNames.parse()).entries
    [other] = parse([line], MirrorNames()).entries
    assert entry.source == other.source
    if destination is not None:
        # As `mirror` reads the image itself.
        [whole] = parse([image], MirrorNames.parse(source, destination)).entries
        assert (whole.source, whole.target) == (entry.source, entry.target)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.lists(_NAME | st.sampled_from(["# a", "// b", "", "a b c", "- image: a"]), max_size=6).map("\n".join))
async def test_any_list_is_converted_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    try:
        done = await convert_list(ConvertListOptions(images=path, destination="out.lan"))
    except UsageError:
        return
    found = parse(done.path.read_text().split("\n"), MirrorNames())
    assert found.invalid == ()
    assert len(found.entries) + found.duplicates == done.converted + done.kept
