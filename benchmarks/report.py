"""Answers for people, and for machines."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.harness import Answer, Finding

_PACKAGES = ("hangar_async", "aiohttp", "zstandard", "isal", "uvloop", "typer")
_PROGRAMS = {
    "skopeo": ("skopeo", "--version"),
    "docker-registry": ("docker-registry", "--version"),
    "curl": ("curl", "--version"),
    "openssl": ("openssl", "version"),
    "pigz": ("pigz", "--version"),
    "nginx": ("/usr/sbin/nginx", "-v"),
}


def table(answer: Answer) -> str:
    """Return what an answer says, as text."""
    if answer.failed:
        return answer.failed
    lines = [f"{'command':<56} {'seconds':>8} {'cpu-s':>8} {'peak MB':>8} {'tree MB':>8}"]
    for one in answer.series:
        tree = "" if one.tree_peak is None else f"{one.tree_peak:.1f}"
        lines.append(f"{one.name:<56} {one.seconds:8.2f} {one.cpu:8.2f} {one.peak:8.1f} {tree:>8}")
    lines += [_line(one) for one in answer.findings]
    return "\n".join([*lines, *answer.notes])


def verdict(answer: Answer) -> str:
    """Say in a word or two how an answer stands to the targets."""
    if answer.failed:
        return "COULD NOT BE MEASURED"
    return "all targets met" if answer.met else "MISSED"


def _line(finding: Finding) -> str:
    pairs = "" if finding.pairs is None else f" (pairs {finding.pairs:.3f})"
    verdict = "met" if finding.met else "MISSED" if not finding.choice else "missed, one of two"
    target = f"{'>=' if finding.at_least else '<='} {finding.target}"
    return f"{finding.what}: {finding.value:.3f}{pairs}, target {target}: {verdict}"


def record(answers: Iterable[Answer]) -> dict[str, Any]:
    """Return all answers, and what machine and versions they are of."""
    return {
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000,
            "load": os.getloadavg(),
        },
        "versions": {"python": sys.version.split()[0], **_packages(), **_programs()},
        "answers": [answer.record() for answer in answers],
    }


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _programs() -> dict[str, str]:
    found = {}
    for name, argv in _PROGRAMS.items():
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            found[name] = "not installed"
            continue
        found[name] = (done.stdout or done.stderr).partition("\n")[0]
    return found
