"""Lists in a file."""

import errno
import tempfile
from pathlib import Path
from types import MappingProxyType

import pytest

from hangar_async.disk import Disk
from hangar_async.errors import NotFound, StorageError
from hangar_async.oci import Descriptor, Digest
from hangar_async.spooled import Spooled


def _filled(values: list[object], kept: int = 2) -> Spooled[object]:
    spooled = Spooled[object](kept=kept)
    for value in values:
        spooled.append(value)
    return spooled


def test_is_a_sequence() -> None:
    values: list[object] = [Digest.of(b"%d" % number) for number in range(7)]
    spooled = _filled(values)
    assert len(spooled) == 7
    assert list(spooled) == values
    assert spooled[1:6:2] == values[1:6:2]
    assert spooled[-1] == values[-1]
    with pytest.raises(IndexError):
        spooled[7]


def test_reads_what_is_in_the_file_and_what_is_not_yet() -> None:
    values: list[object] = [bytes([number]) * 50_000 for number in range(9)]
    spooled = _filled(values, kept=0)
    assert list(spooled) == values
    spooled.append(b"more")
    assert [*spooled] == [*values, b"more"]


def test_a_value_takes_the_place_of_another_one() -> None:
    spooled = _filled([1, 2, 3, 4])
    spooled[0], spooled[2] = "first", "third"
    spooled.append(5)
    assert list(spooled) == ["first", 2, "third", 4, 5]


def test_values_come_to_their_places_in_any_order() -> None:
    for order in ([4, 0, 3, 1, 2], [1, 0, 2, 4, 3]):
        spooled = Spooled[int](kept=2)
        for number in order:
            spooled[number] = number
        assert list(spooled) == [0, 1, 2, 3, 4]


def test_leaves_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spooled = _filled([bytes(200_000)], kept=0)
    assert not list(tmp_path.iterdir())
    assert len(spooled) == 1


def test_is_a_tuple_where_all_is_in_memory() -> None:
    assert _filled([1, 2]).sequence() == (1, 2)
    assert isinstance(_filled([1, 2, 3]).sequence(), Spooled)


def test_keeps_descriptors() -> None:
    descriptor = Descriptor("text/plain", Digest.of(b""), 0, annotations=MappingProxyType({"a": "b"}))
    assert list(_filled([descriptor], kept=0)) == [descriptor]


def test_keeps_errors() -> None:
    error = NotFound("gone", host="registry", status=404, advice="push it")
    kept = _filled([error], kept=0)[0]
    assert isinstance(kept, NotFound)
    assert (str(kept), vars(kept)) == (str(error), vars(error))


class _FullDisk(Disk):
    """Takes some writes, and half of the next one."""

    def __init__(self, writes: int) -> None:
        self.writes = writes

    def write(self, descriptor: int, data: bytes | memoryview, path: Path) -> None:
        self.writes -= 1
        if self.writes < 0:
            super().write(descriptor, data[: len(data) // 2], path)
            raise StorageError.of(OSError(errno.ENOSPC, "full"), path, "write")
        super().write(descriptor, data, path)


@pytest.mark.parametrize("writes", [0, 1, 3])
def test_stays_in_memory_where_the_disk_is_full(writes: int) -> None:
    spooled, values = (
        Spooled[bytes](disk := _FullDisk(writes), kept=0),
        [bytes([number]) * 70_000 for number in range(6)],
    )
    for value in values:
        spooled.append(value)
    assert list(spooled) == values
    assert disk.writes == -1


def test_stays_in_memory_where_no_directory_takes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert list(_filled([bytes(200_000), 1], kept=0)) == [bytes(200_000), 1]

    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert list(_filled([bytes(200_000), 1], kept=0)) == [bytes(200_000), 1]
