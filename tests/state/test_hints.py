"""Hints save requests; a state that fails is told once, and costs no more than these."""

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hangar_async.disk import Disk
from hangar_async.errors import UsageError
from hangar_async.oci import Descriptor, Digest, Reference
from hangar_async.state import hints
from hangar_async.state.hints import AGE, LARGE, NO_STATE, REFERRERS_AGE, SESSION_AGE, PutTag, State

ONE, TWO, THREE = (Digest.of(text) for text in (b"1", b"2", b"3"))
IMAGE = Reference.parse("reg.example/app:1")
BLOB = Descriptor("application/octet-stream", ONE, LARGE + 1)
START = 1_800_000_000.0


@asynccontextmanager
async def opened(path: Path | None, now: float = START, notices: list[str] | None = None) -> AsyncIterator[State]:
    notice = pytest.fail if notices is None else notices.append
    async with State.opened(path, Disk(), notice, lambda: now) as state:
        yield state


async def fill(state: State) -> None:
    await state.note_part(ONE, "amd64", TWO)
    await state.note_holder(IMAGE, BLOB)
    await state.note_quirk("reg.example", "odd")
    await state.note_session(IMAGE, BLOB, "http://reg.example/v2/app/blobs/uploads/1?_state=a%2Fb", 7)


async def found(state: State) -> tuple[bool, bool, str]:
    return (await state.has_part(ONE, "amd64", TWO), state.has_quirk("reg.example", "odd"), state.session(IMAGE, BLOB))


async def test_the_next_run_knows_what_the_last_one_has_noted(tmp_path: Path) -> None:
    async with opened(tmp_path / "x") as state:
        assert await found(state) == (False, False, "")
        await fill(state)
    async with opened(tmp_path / "x") as state:
        assert await found(state) == (True, True, "http://reg.example/v2/app/blobs/uploads/1?_state=a%2Fb")
        assert not await state.has_part(ONE, "arm64", TWO)
        assert not await state.has_part(ONE, "amd64", THREE)
        assert not state.has_quirk("other.example", "odd")
        other = Reference.parse("reg.example/other:1")
        assert (state.session(other, BLOB), state.begun_in(other, BLOB, ["more", "app"])) == ("", "app")
        assert state.begun_in(other, BLOB, ["more"]) is None
        assert state.begun_in(IMAGE, BLOB, []) == "app"
        assert state.begun_in(Reference.parse("elsewhere.example/app:1"), BLOB, ["app"]) is None
        await state.forget_session(IMAGE, BLOB)
        assert state.session(IMAGE, BLOB) == ""
    async with opened(tmp_path / "x") as state:
        assert state.session(IMAGE, BLOB) == ""


async def test_a_quirk_may_pass(tmp_path: Path) -> None:
    async with opened(tmp_path / "x") as state:
        await fill(state)
    async with opened(tmp_path / "x") as state:
        await state.forget_quirk("other.example", "odd")
        assert state.has_quirk("reg.example", "odd")
        await state.forget_quirk("reg.example", "odd")
        assert not state.has_quirk("reg.example", "odd")
    async with opened(tmp_path / "x") as state:
        assert not state.has_quirk("reg.example", "odd")


async def test_hints_have_an_age(tmp_path: Path) -> None:
    async with opened(tmp_path / "x") as state:
        await fill(state)
    async with opened(tmp_path / "x", START + SESSION_AGE + 1) as state:
        # A part that is used is as good as new.
        assert (await found(state))[::2] == (True, "")
    async with opened(tmp_path / "x", START + AGE + 1) as state:
        assert await found(state) == (True, False, "")
    async with opened(tmp_path / "x", START - 2 * AGE) as state:
        # A clock that was wrong.
        assert await found(state) == (False, False, "")


async def test_the_repository_that_got_a_blob_last_has_it(tmp_path: Path) -> None:
    other, own = (Reference.parse(f"reg.example/{name}:1") for name in ("other", "own"))
    for number, image in enumerate((IMAGE, other, own)):
        async with opened(tmp_path / "x", START + number) as state:
            await state.note_holder(image, BLOB)
    async with opened(tmp_path / "x", START + 9) as state:
        assert await state.holder(own, BLOB) == "other"
        assert await state.holder(other, BLOB) == "own"
        assert await state.holder(Reference.parse("elsewhere.example/own:1"), BLOB) is None
        assert await state.holder(own, Descriptor(BLOB.media_type, TWO, 1)) is None


async def test_a_blob_whose_session_has_ended_well_has_a_place(tmp_path: Path) -> None:
    """By one change: a run may be killed after any."""
    other = Reference.parse("reg.example/other:1")
    for is_there in (False, True):
        async with opened(tmp_path / "x") as state:
            await state.note_session(IMAGE, BLOB, "http://reg.example/1", 0)
            await state.forget_session(IMAGE, BLOB, is_there=is_there)
            assert await state.holder(other, BLOB) == ("app" if is_there else None)


async def test_small_uploads_are_not_kept(tmp_path: Path) -> None:
    async with opened(tmp_path / "x") as state:
        small = Descriptor(BLOB.media_type, TWO, LARGE)
        await state.note_session(IMAGE, small, "http://reg.example/", 0)
        assert state.session(IMAGE, small) == ""


async def test_without_a_file_nothing_is_known() -> None:
    async with opened(None) as state:
        assert state is NO_STATE
        await fill(state)
        assert await found(state) == (False, False, "")


async def test_a_state_of_another_run_or_program_ends_the_run(tmp_path: Path) -> None:
    async with opened(tmp_path / "x"):
        with pytest.raises(UsageError, match="in use by"):
            async with opened(tmp_path / "x"):
                pass
    (tmp_path / "y").write_text("nginx")
    with pytest.raises(UsageError, match="is no state"):
        async with opened(tmp_path / "y"):
            pass


async def test_a_damaged_state_is_told_once_and_left_out(tmp_path: Path) -> None:
    """Whatever bytes it has, nothing but a notice comes of it."""
    async with opened(tmp_path / "x") as state:
        await fill(state)
    whole, chosen, told = (tmp_path / "x").read_bytes(), random.Random(1), 0
    for _ in range(30):
        damaged = bytearray(whole)
        start, count = chosen.choice(
            ((28, 4), (36, 4), (100, 8), (4096, 300), (8192, 300), (12288, 4096), (16384, 4096))
        )
        start += chosen.randrange(20)  # neither the mark nor the schema number
        damaged[start : start + count] = chosen.randbytes(count)
        (tmp_path / "x").write_bytes(damaged)
        notices: list[str] = []
        async with opened(tmp_path / "x", notices=notices) as state:
            await found(state)
            await state.holder(Reference.parse("reg.example/other:1"), BLOB)
            await fill(state)
            await state.forget_session(IMAGE, BLOB)
        assert len(notices) <= 1
        told += len(notices)
        for notice in notices:
            assert "this run goes on without it: " in notice
            assert "\n" not in notice
    assert told > 5


async def test_a_lock_that_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notices: list[str] = []
    async with opened(tmp_path / "x", notices=notices):
        (tmp_path / "x.lock").unlink()
        (tmp_path / "x.lock").mkdir()
        monkeypatch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(PermissionError(13, "denied")))
    assert len(notices) == 1
    assert hints.LARGE == 256 << 20


async def test_a_tag_has_the_job_that_put_it_last_as_its_owner_for_ever(tmp_path: Path) -> None:
    async with opened(tmp_path / "x") as state:
        await state.note_put("bases", IMAGE, ONE, "in.example/app")
        await state.note_put("bases", Reference.parse("reg.example/app:0"), TWO, "in.example/app")
        await state.note_put("others", Reference.parse("reg.example/app:2"), TWO, "in.example/app")
    async with opened(tmp_path / "x", START + 9 * AGE) as state:
        first, second = await state.put_by("bases")
        assert second == PutTag(IMAGE, ONE, "in.example/app")
        await state.note_put("others", first.target, THREE, "in.example/other")
        await state.forget_put(IMAGE)
        assert await state.put_by("bases") == []
        assert [(one.target.tag, one.digest) for one in await state.put_by("others")] == [("0", THREE), ("2", TWO)]
    assert await NO_STATE.put_by("others") == []
    assert not NO_STATE.is_kept


@pytest.mark.parametrize(
    "wrong",
    [
        "UPDATE put SET digest = 'sha256:1' WHERE tag = '1'",
        "UPDATE put SET repository = 'App' WHERE tag = '1'",
        "UPDATE put SET tag = '../x' WHERE tag = '1'",
        "UPDATE put SET tag = x'ff00' WHERE tag = '1'",
        "UPDATE put SET registry = '' WHERE tag = '1'",
        "UPDATE put SET source = '::' WHERE tag = '1'",
    ],
)
async def test_a_row_that_cannot_be_read_owns_no_tag(tmp_path: Path, wrong: str) -> None:
    other = Reference.parse("reg.example/app:2")
    async with opened(tmp_path / "x") as state:
        for target in (IMAGE, other):
            await state.note_put("bases", target, ONE, "in.example/app")
    with closing(sqlite3.connect(tmp_path / "x")) as connection, connection:
        connection.execute(wrong)
    async with opened(tmp_path / "x") as state:
        assert await state.put_by("bases") == [PutTag(other, ONE, "in.example/app")]


async def test_times_that_cannot_be_read_are_not_known(tmp_path: Path) -> None:
    async with opened(tmp_path / "x") as state:
        await state.note_created(ONE, datetime(2026, 5, 1, tzinfo=UTC))
        await state.note_asked(IMAGE, ONE)
    with closing(sqlite3.connect(tmp_path / "x")) as connection, connection:
        connection.execute("UPDATE created SET time = '2026-05-01'")
        connection.execute("UPDATE asked SET first = 'x', seen = 'y'")
    async with opened(tmp_path / "x") as state:
        assert await state.created(ONE) == (False, None)
        assert not await state.is_asked(IMAGE, ONE)


async def test_the_time_of_an_image_is_known_by_its_digest(tmp_path: Path) -> None:
    time = datetime(2026, 5, 1, 12, 30, 0, 123, tzinfo=UTC)
    async with opened(tmp_path / "x") as state:
        await state.note_created(ONE, time)
        await state.note_created(TWO, None)
    async with opened(tmp_path / "x", START + 9 * AGE) as state:
        assert [await state.created(digest) for digest in (ONE, TWO, THREE)] == [
            (True, time),
            (True, None),
            (False, None),
        ]
    with closing(sqlite3.connect(tmp_path / "x")) as connection, connection:
        connection.execute("UPDATE created SET time = 'yesterday'")
    async with opened(tmp_path / "x") as state:
        assert await state.created(ONE) == (False, None)


@pytest.mark.parametrize(
    ("first", "last", "now", "is_asked"),
    [
        (0, 0, 1, False),  # young: a signature may come any time
        (0, REFERRERS_AGE - 1, REFERRERS_AGE - 1, False),
        (0, REFERRERS_AGE - 1, REFERRERS_AGE, True),
        (0, 2 * REFERRERS_AGE, 3 * REFERRERS_AGE - 1, True),
        (0, 2 * REFERRERS_AGE, 3 * REFERRERS_AGE, False),
        (5 * REFERRERS_AGE, 5 * REFERRERS_AGE, 4 * REFERRERS_AGE, False),  # a clock that was wrong
    ],
)
async def test_referrers_are_asked_for_again_while_a_digest_is_young_and_each_day(
    tmp_path: Path, first: int, last: int, now: int, is_asked: bool
) -> None:
    for moment in (first, last):
        async with opened(tmp_path / "x", START + moment) as state:
            await state.note_asked(IMAGE, ONE)
    async with opened(tmp_path / "x", START + now) as state:
        assert await state.is_asked(IMAGE, ONE) == is_asked
        assert not await state.is_asked(Reference.parse("reg.example/other:1"), ONE)
        assert not await state.is_asked(IMAGE, TWO)


async def test_hints_that_cost_little_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "_MOST_PENDING", 3)
    async with opened(tmp_path / "x") as state:
        for number in range(4):
            await state.note_asked(IMAGE, Digest.of(b"%d" % number))
            with closing(sqlite3.connect(tmp_path / "x")) as connection:
                written = connection.execute("SELECT COUNT(*) FROM asked").fetchone()[0]
            assert written == (0 if number < 2 else 3)
    with closing(sqlite3.connect(tmp_path / "x")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM asked").fetchone()[0] == 4
