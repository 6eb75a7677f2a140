"""Uploads into a registry."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.checks import held_by
from benchmarks.harness import Answer
from benchmarks.stage import Stage

ASKS = "upload of the blobs of 1.2 GB, 4 at a time, beside curl with a PUT for each"


def ask(stage: Stage) -> Answer:
    """Measure; the registry hashes what comes, and knows the blobs already when it has got them."""
    corpus = stage.corpus("large")
    upload = ours.upload(corpus, stage.registry)
    address = stage.directory / "address"
    address.write_text(stage.registry)
    curl = peers.curl_put(corpus, address, held_by(stage.registry, "uploads/curl", corpus.blobs))
    answer = Answer("upload", stage.measure("upload", [upload, curl]))
    answer.inner_speed(upload.name, curl.name, 0.9)
    whole = answer.of(curl.name).seconds / answer.of(upload.name).seconds
    answer.notes.append(f"{whole:.2f} of the speed, the start of Python counted")
    return answer
