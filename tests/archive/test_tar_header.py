import io
import tarfile

import pytest
from hypothesis import given, strategies as st

from hangar_async.archive import tar_header

KINDS = {tar_header.FILE: tarfile.REGTYPE, tar_header.LINK: tarfile.SYMTYPE, tar_header.DIRECTORY: tarfile.DIRTYPE}
components = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=120)
paths = st.lists(components, min_size=1, max_size=6).map("/".join)


def read(data: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(data + tar_header.end(len(data))), mode="r|", encoding="utf-8") as opened:
        members = opened.getmembers()
    assert len(members) == 1
    return members[0]


@given(paths, st.sampled_from(sorted(KINDS)), paths, st.integers(0, 8**11 - 1))
def test_any_name_reads_back(name: str, kind: bytes, target: str, mtime: int) -> None:
    data = tar_header.header(kind, name, target=target if kind == tar_header.LINK else "", mtime=mtime)
    assert len(data) % tar_header.BLOCK == 0
    member = read(data)
    assert (member.name, member.type, member.mtime) == (name, KINDS[kind], mtime)
    assert member.linkname == (target if kind == tar_header.LINK else "")
    assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
    assert member.mode == {tar_header.FILE: 0o644, tar_header.DIRECTORY: 0o755, tar_header.LINK: 0o777}[kind]


@pytest.mark.parametrize("length", [99, 100, 101, 155, 156, 200, 255, 256, 257, 300])
@pytest.mark.parametrize("slash", [1, 50, 98, 99, 100, 101, 154, 155, 156])
@pytest.mark.parametrize("kind", [tar_header.FILE, tar_header.DIRECTORY])
def test_names_at_the_limits_of_the_header(length: int, slash: int, kind: bytes) -> None:
    name = "n" * slash + "/" + "m" * (length - slash - 1) if slash < length - 1 else "n" * length
    assert read(tar_header.header(kind, name)).name == name


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 1 << 40])
@pytest.mark.parametrize("name", ["short", "a/" * 60 + "long", "x" * 200])
def test_any_size_reads_back(size: int, name: str) -> None:
    header = tar_header.header(tar_header.FILE, name, size=size)
    member = tarfile.TarInfo.frombuf(header[-tar_header.BLOCK :], "utf-8", "strict")
    assert member.size == size


@pytest.mark.parametrize("name", ["saved-image-cache", "saved-image-cache/share/sha256/" + "a" * 64, "p/" * 70 + "n"])
def test_plain_headers_are_what_python_writes(name: str) -> None:
    expected = tarfile.TarInfo(name)
    expected.size, expected.mtime = 4711, 1700000000
    ours = bytearray(tar_header.header(tar_header.FILE, name, size=4711, mtime=1700000000))
    theirs = bytearray(expected.tobuf(tarfile.USTAR_FORMAT))
    for data in (ours, theirs):
        data[148:156] = b" " * 8
        data[329:345] = bytes(16)  # device numbers of what is no device: versions of Python differ
    assert ours == theirs


@given(st.integers(0, 1 << 40).map(lambda size: size * tar_header.BLOCK))
def test_the_end_fills_a_record(size: int) -> None:
    end = tar_header.end(size)
    assert not any(end)
    assert (size + len(end)) % 10240 == 0
    assert 1024 <= len(end) < 1024 + 10240
