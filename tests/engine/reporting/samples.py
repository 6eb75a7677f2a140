"""Outcomes and reports of all verbs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hangar_async.engine.outcomes import Verdict, VerifiedImage
from hangar_async.engine.reports import (
    Comparison,
    ComparisonReport,
    ImageOutcome,
    LoadOutcome,
    LoadReport,
    MirrorOutcome,
    MirrorReport,
    Output,
    ReferrerCounts,
    Report,
    Sent,
    Traffic,
)
from hangar_async.errors import ContentError, NetworkError
from hangar_async.imagelist import Entry, InvalidLine
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Descriptor, Digest, Image, ImagePlatform, Platform, Reference

ROOT, PART = Digest.of(b"root"), Digest.of(b"part")
NAME = "reg.example.com/app:1"
SOURCE, TARGET = Reference.parse(NAME), Reference.parse("new.example.com/x/app:1")
MANIFEST = Descriptor("application/vnd.oci.image.manifest.v1+json", PART, 7, platform=Platform("linux", "amd64"))
IMAGE = Image(SOURCE, MANIFEST, (ImagePlatform(MANIFEST),), original=ROOT)
ENTRY = Entry(SOURCE, 3, NAME)
LATER = Entry(Reference.parse(f"{NAME}@{ROOT}"), 5, f"{NAME}@{ROOT}")
PAIR = MirrorEntry(3, f"{NAME} new.example.com/x/app 1", SOURCE, TARGET)
ERROR = NetworkError("the connection broke", host="reg.example.com", advice="try again")

DONE = ImageOutcome(
    ENTRY,
    IMAGE,
    notes=("a layer is left out",),
    seconds=1.23456,
    transferred=900,
    size=1_000,
    referrers=ReferrerCounts(2, 1),
)
FAILED = ImageOutcome(replace(ENTRY, line=4, text=f"{NAME}0", reference=Reference.parse(f"{NAME}0")), error=ERROR)
SAME = ImageOutcome(LATER, same_as=ENTRY)
SAVED = Report(
    (DONE, FAILED, SAME),
    (InvalidLine("list.txt", 9, "'a b' has white space"),),
    2,
    Traffic(fetched_blobs=4, fetched_bytes=900, reused_blobs=1, reused_bytes=100, resumed_bytes=10),
    Output((Path("a.tar.gz"),), 950, "gzip", kept=Path("b.tar.gz")),
    2.0,
    failed_list=Path("save-failed.txt"),
    notices=("a notice",),
)
PUSHED = LoadOutcome(IMAGE, TARGET, "pushed", PART, note="only a part", replaced=ROOT, transferred=5)
LOADED = LoadReport(Path("a.tar.gz"), "new.example.com/x", (PUSHED,), Sent(uploaded_blobs=1, uploaded_bytes=5), 1.0)
COPIED = MirrorOutcome(PAIR, "copied", ROOT, PART, IMAGE, size=1_000)
MIRRORED = MirrorReport((COPIED,), (), 0, Sent(mounted_blobs=2, mounted_bytes=20), 1.0)
COMPARED = ComparisonReport(Path("a"), "new.example.com", (Comparison(IMAGE, TARGET, digest=PART),), 1.0)
WRONG = VerifiedImage(IMAGE, ContentError("a blob is missing"))
VERIFIED = Verdict((VerifiedImage(IMAGE), WRONG), 3, 99, ("a part is damaged",))
