"""Each target of a mirror has its own flights; the bytes of all are one sum."""

from __future__ import annotations

from hangar_async.config.target_options import MirrorOptions
from hangar_async.engine.copy.sides import Sides
from hangar_async.engine.events import ignore
from hangar_async.engine.limits.hosts import Clock
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Reference
from hangar_async.state.hints import NO_STATE


async def test_targets_by_registry() -> None:
    source = Reference.parse("a.example.com/x:1")
    options = MirrorOptions(images=["x"], destination="b.example.com")
    notices: list[str] = []
    entries = [MirrorEntry(1, "x", source, Reference.parse(f"{host}.example.com/x:1")) for host in "bcb"]
    async with Sides.opened(options, entries, ignore, notices.append, Clock(), NO_STATE, push=True) as sides:
        assert list(sides.targets) == ["b.example.com", "c.example.com"]
        one, other = sides.targets.values()
        one.blobs.sent.uploaded_bytes, other.blobs.sent.uploaded_bytes = 3, 4
        assert sides.sent.uploaded_bytes == 7
    assert notices == []
