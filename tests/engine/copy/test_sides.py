"""Each target of a mirror has its own flights; the bytes of all are one sum."""

from __future__ import annotations

from hangar_async.config.target_options import MirrorOptions
from hangar_async.engine.copy.sides import Sides
from hangar_async.engine.events import ignore
from hangar_async.engine.limits.hosts import Clock
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Reference


async def test_targets_by_registry() -> None:
    names = Reference.parse("a.example.com/x:1"), Reference.parse("b.example.com/x:1")
    options = MirrorOptions(images=["x"], destination="b.example.com")
    notices: list[str] = []
    entries = [MirrorEntry(1, "x", *names)]
    async with Sides.opened(options, entries, ignore, notices.append, Clock(), push=True) as sides:
        one, other = await sides.target("b.example.com"), await sides.target("c.example.com")
        assert one is await sides.target("b.example.com")
        assert one is not other
        one.blobs.sent.uploaded_bytes, other.blobs.sent.uploaded_bytes = 3, 4
        assert sides.sent.uploaded_bytes == 7
    assert notices == []
