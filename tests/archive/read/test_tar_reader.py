import io
import tarfile
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hangar_async.archive import tar_header
from hangar_async.archive.read.tar_reader import TarError, TarReader
from hangar_async.archive.tar_header import Member

NAME = "saved-image-cache/index.json"
_components = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
_paths = st.lists(_components, min_size=1, max_size=5).map("/".join)
_files = st.lists(st.tuples(_paths, st.binary(max_size=1100)), max_size=4)


def read(data: bytes, piece: int = 1 << 16) -> list[tuple[Member, bytes]]:
    """All members and their data, read by pieces of this size."""
    reader = TarReader(io.BytesIO(data))
    found = []
    for member in reader:
        content, buffer = b"", memoryview(bytearray(piece))
        while count := reader.readinto(buffer):
            content += buffer[:count]
        found.append((member, content))
    return found


def member(kind: bytes, name: str, content: bytes = b"") -> bytes:
    return tar_header.header(kind, name, size=len(content)) + content + tar_header.padding(len(content))


def pax(*records: tuple[str, str], kind: bytes = b"x") -> bytes:
    data = b""
    for key, value in records:
        rest = f" {key}={value}\n".encode()
        length = len(rest) + len(str(len(rest) + len(str(len(rest)))))
        data += str(length).encode() + rest
    return member(kind, "x", data)


@given(_files, st.integers(1, 2000))
def test_written_members_read_back(files: list[tuple[str, bytes]], piece: int) -> None:
    data = b"".join(member(tar_header.FILE, name, content) for name, content in files)
    found = read(data + tar_header.end(len(data)), piece)
    assert [(one.kind, one.name, one.size, content) for one, content in found] == [
        (tar_header.FILE, name, len(content), content) for name, content in files
    ]


@given(_paths, _paths)
def test_directories_and_links_read_back(name: str, target: str) -> None:
    data = tar_header.header(tar_header.DIRECTORY, name) + tar_header.header(tar_header.LINK, name, target=target)
    directory, link = (one for one, _ in read(data + tar_header.end(len(data))))
    assert (directory.kind, directory.name) == (tar_header.DIRECTORY, f"{name}/")
    assert (link.kind, link.name, link.target) == (tar_header.LINK, name, target)


@given(_files, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.floats(0, 2e9))
def test_a_tar_of_python_is_read(files: list[tuple[str, bytes]], form: int, mtime: float) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form, encoding="utf-8") as opened:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), mtime if form == tarfile.PAX_FORMAT else int(mtime)
            opened.addfile(info, io.BytesIO(content))
    assert [(one.name, content) for one, content in read(data.getvalue())] == files


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 1 << 62, (1 << 88) - 1])
def test_any_size_of_a_header_is_read(size: int) -> None:
    block = tar_header.header(tar_header.FILE, "x", size=size)
    assert tar_header.parse(block[-tar_header.BLOCK :]) == (tar_header.FILE, "x", size, "")
    if size:
        with pytest.raises(TarError, match="ends too early"):
            read(block + bytes(512 if size > 512 else 0))


@given(st.binary(max_size=600) | st.lists(st.binary(min_size=512, max_size=512) | st.just(bytes(512))).map(b"".join))
def test_other_bytes_are_no_tar(data: bytes) -> None:
    if data[:512] == bytes(512):
        assert read(data) == []
        return
    with pytest.raises(TarError):
        read(data)


@given(st.data(), _files)
def test_any_change_is_an_error_or_a_whole_tar(data: st.DataObject, files: list[tuple[str, bytes]]) -> None:
    whole = bytearray(b"".join(member(tar_header.FILE, name, content) for name, content in files))
    whole += tar_header.end(len(whole))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(whole))
    except TarError:
        return
    assert all(len(content) == one.size for one, content in found)


@given(st.binary(max_size=100) | st.lists(st.sampled_from([b"9 ", b"16 ", b"path", b"size", b"=", b"1", b"\n", b"a"]))
       .map(b"".join))  # fmt: skip
def test_any_pax_header_is_read_or_refused(content: bytes) -> None:
    data = member(b"x", "x", content) + member(tar_header.FILE, NAME, b"{}")
    try:
        (found,) = read(data + tar_header.end(len(data)))
    except TarError:
        return
    assert len(found[1]) == found[0].size


def test_pax_gives_a_path_a_target_and_a_size() -> None:
    data = pax(("path", "größe" * 100), ("mtime", "1.5"), ("comment", "x")) + member(tar_header.FILE, "short", b"1")
    data += pax(("linkpath", "t" * 300)) + tar_header.header(tar_header.LINK, "link", target="cut")
    data += pax(("size", "3")) + tar_header.header(tar_header.FILE, "sized") + b"123" + tar_header.padding(3)
    data += pax(("size", "")) + member(tar_header.FILE, "plain", b"12")
    found = read(data + tar_header.end(len(data)))
    assert [(one.name, one.target, content) for one, content in found] == [
        ("größe" * 100, "", b"1"), ("link", "t" * 300, b""), ("sized", "", b"123"), ("plain", "", b"12"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        (pax(("size", "1_0")), "impossible size"),
        (pax(("size", " 2")), "impossible size"),
        (pax(("size", "+2")), "impossible size"),
        (pax(("size", "\u0662")), "impossible size"),
        (pax(("size", "9" * 5000)), "impossible size"),
        (pax(("path", NAME), kind=b"g"), "speaks for all members"),
        (pax(("size", "2"), kind=b"g"), "speaks for all members"),
        (pax(("path", NAME)) + pax(("path", "other")), "repeats a value"),
        (member(tar_header.LONG_NAME, "x", b"other\0") + pax(("path", NAME)), "repeats a value"),
        (pax(("path", NAME)) + member(tar_header.LONG_NAME, "x", b"other\0"), "repeats a value"),
        (pax(("GNU.sparse.map", "0,1")), "sparse"),
    ],
)
def test_headers_that_programs_read_differently_are_refused(headers: bytes, problem: str) -> None:
    data = headers + member(tar_header.FILE, NAME, b"{}")
    with pytest.raises(TarError, match=problem):
        read(data + tar_header.end(len(data)))


def test_a_prefix_that_only_some_programs_read_is_refused() -> None:
    """In its place other formats have other fields, or none."""
    block = bytearray(tar_header.header(tar_header.FILE, "p/" * 70 + "n"))
    assert tar_header.parse(bytes(block)) == (tar_header.FILE, "p/" * 70 + "n", 0, "")
    for magic in (b"ustar  \0", bytes(8)):
        block[257:265] = magic
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        assert tar_header.parse(bytes(block)) is None


def test_a_global_header_of_other_keys_is_passed_over() -> None:
    data = (
        pax(("comment", "abc"), kind=b"g") + pax(("size", "2"), ("mtime", "1")) + member(tar_header.FILE, NAME, b"{}")
    )
    assert [one.name for one, _ in read(data + tar_header.end(len(data)))] == [NAME]


class Endless:
    """A stream that repeats its bytes for ever."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.given = 0

    def readinto(self, buffer: memoryview, /) -> int:
        start = self.given % len(self.data)
        piece = (self.data * (2 + len(buffer) // len(self.data)))[start : start + len(buffer)]
        buffer[:] = piece
        self.given += len(buffer)
        return len(buffer)


REPEATED: dict[str, Any] = {
    "directories": tar_header.header(tar_header.DIRECTORY, "saved-image-cache"),
    "empty extensions": member(b"g", "x"),
    "records": pax(*[("a", "")] * 5000),
}


@pytest.mark.parametrize("data", REPEATED.values(), ids=list(REPEATED))
def test_headers_without_end_are_refused(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """They compress to nothing, so that a small file could have billions of them."""
    monkeypatch.setattr(tar_header, "MAX_HEADERS", 20_000)
    stream = Endless(data)
    with pytest.raises(TarError, match="more than 20,000 headers"):
        for _ in TarReader(stream):
            pass
    assert stream.given <= 20_001 * 512
