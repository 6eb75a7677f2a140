"""An archive checked."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import ours, peers
from benchmarks.harness import Answer
from benchmarks.stage import Stage

ASKS = "verify of an archive of 1.2 GB, beside openssl sha256 of the same file"
_NAMES = {"gzip": "large.tar.gz", "zstd": "large.tar.zstd"}


def ask(stage: Stage) -> Answer:
    """Measure: openssl reads and hashes once, we hash the file and what is in it."""
    corpus = stage.corpus("large")
    images = corpus.list_file(stage.registry)
    answer = Answer("verify")
    for kind, name in _NAMES.items():
        archive = stage.directory / name
        argv = (sys.executable, "-m", "hangar_async", "save", "-f", images, "-c", kind, "-d", archive, "-j4", "--quiet")
        subprocess.run(argv, check=True, cwd=stage.directory)
        verify, openssl = ours.verify(archive), peers.openssl(archive)
        answer.series += stage.measure(f"verify-{kind}", [verify, openssl])
        answer.inner_speed(verify.name, openssl.name, 0.8)
        whole = answer.of(openssl.name).seconds / answer.of(verify.name).seconds
        answer.notes.append(f"{verify.name}: {whole:.2f} of the speed, the start of Python counted")
        archive.unlink()
    return answer
