"""Download and verification alone."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.harness import Answer
from benchmarks.stage import Stage

ASKS = "download and SHA-256 of 1.2 GB, 4 blobs at a time, beside curl piped to openssl; into a store beside curl"


def ask(stage: Stage) -> Answer:
    """Measure; our start of Python counts, as that of each curl does, and is left out besides."""
    corpus = stage.corpus("large")
    urls = corpus.directory / "urls.txt"
    urls.write_text(
        "".join(f"http://{stage.registry}/v2/{blob['repository']}/blobs/{blob['digest']}\n" for blob in corpus.blobs)
    )
    pull = ours.pull(corpus, stage.registry, keep=False)
    keep = ours.pull(corpus, stage.registry, keep=True)
    curl = peers.curl_and_openssl(urls, corpus)
    files = peers.curl_to_files(urls, corpus)
    answer = Answer("pull", stage.measure("pull", [pull, curl, keep, files], writes=corpus.size))
    answer.speed(pull.name, curl.name, 1.0)
    answer.inner_speed(pull.name, curl.name, 1.0)
    ratio = answer.of(keep.name).seconds / answer.of(files.name).seconds
    answer.notes.append(f"{keep.name} (hashed) takes {ratio:.2f} of the time of {files.name} (not hashed)")
    return answer
