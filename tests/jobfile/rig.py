"""A job file with all fields, and ways to read others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hangar_async.jobfile.jobs import JobFile
from hangar_async.jobfile.read import parse

WHOLE = """\
version: 1
registries:
  harbor.lan: {create: harbor}
  docker.io: {create: none}
defaults:
  to: "harbor.lan/mirror/{registry}/{repository}"
  platforms: [linux/amd64, linux/arm64]
  overwrite: moved
  tags: {prereleases: true, newest: 3}
jobs:
  - name: bases
    from: [docker.io/library/nginx, docker.io/library/python]
    to: "harbor.lan/mirror/{name}"
    tags:
      version: ">=1.25 <4"
      variants: ["", alpine]
      newest: 2
      per: minor
      also: [latest, "1.27"]
  - name: monitoring
    from: "quay.io/prometheus/*"
    tags: {match: "v*", exclude: ["*-debug"], newer-than: 180d, immutable: "v*.*.*"}
    index: original
  - name: pinned
    list: images.txt
    to: "reg.local/{repository}"
    platforms: all
    overwrite: never
"""


def read(text: str, environ: Mapping[str, str] | None = None) -> JobFile:
    """Read the text of a job file `jobs/mirror.yaml`."""
    return parse(text, Path("jobs/mirror.yaml"), environ or {})


def changed(old: str, new: str) -> str:
    """Return the whole file with a change at the first place of a text."""
    assert old in WHOLE
    return WHOLE.replace(old, new, 1)
