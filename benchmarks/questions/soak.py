"""Many images from a registry that fails often."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from benchmarks.harness import Answer
from benchmarks.stage import ROOT, Stage

ASKS = "2,000 images, -j 20, from a registry that fails 5 % of the requests in eleven ways"
_IMAGES = 2000


def ask(stage: Stage) -> Answer:
    """Save once; all has to arrive, with few requests more than are needed."""
    place = stage.directory / "soak"
    place.mkdir(exist_ok=True)
    images, counts = place / "images.txt", place / "counts.json"
    argv = (sys.executable, "-m", "benchmarks.programs.faulty_registry", str(_IMAGES), str(images), str(counts))
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as registry:
        assert registry.stdout is not None
        registry.stdout.readline()
        began = time.monotonic()
        wanted = ("save", "-f", str(images), "-c", "gzip", "-d", "soak", "-j", "20", "--quiet")
        saved = subprocess.run([sys.executable, "-m", "hangar_async", *wanted], cwd=place, check=False)
        seconds = time.monotonic() - began
        registry.terminate()
    told = json.loads(counts.read_text())
    answer = Answer("soak", failed="" if saved.returncode == 0 else f"save ended with {saved.returncode}")
    answer.bound("requests made / requests needed", told["asked"] / told["needed"], 1.15)
    answer.notes.append(f"{told['needed']} needed, {told['asked']} made, {told['failed']} failed, {seconds:.0f} s")
    return answer
