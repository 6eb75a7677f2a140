"""A tar of an OCI image layout into a registry."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import ours
from benchmarks.harness import Answer
from benchmarks.questions.load import Far, saved_archive, tags_at
from benchmarks.stage import Stage

ASKS = "load of an oci-archive of 1.2 GB, beside load of an archive of ours of the same images"


def ask(stage: Stage) -> Answer:
    """Measure: each run has a registry that is new and empty."""
    corpus = stage.corpus("large")
    foreign = stage.directory / "oci-archive.tar"
    with saved_archive(stage, corpus) as archive, Far(stage.directory / "far") as far:
        images = [f"{stage.registry}/{image}" for image in corpus.images]
        words = ["extract", str(archive), *images, "-o", str(foreign), "--format", "oci-archive", "--quiet"]
        try:
            subprocess.run([sys.executable, "-m", "hangar_async", *words], check=True)
            check = far.renewed(tags_at(corpus.images))
            commands = [
                ours.load(path, far.address, 4, check, f"load of {name}")
                for path, name in ((foreign, "an oci-archive"), (archive, "an archive of ours"))
            ]
            answer = Answer("load_oci_archive", stage.measure("load_oci_archive", commands, writes=corpus.size))
        finally:
            foreign.unlink(missing_ok=True)
    answer.compare(commands[0].name, commands[1].name, 1.1)
    return answer
