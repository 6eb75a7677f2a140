"""Credential helpers as scripts on the PATH; each notes what it was asked."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

NOT_FOUND = "echo 'credentials not found in native keychain'; exit 1"


class Helpers:
    """Scripts in a folder; a line of what each was asked is the action and the first line of what it was told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def add(self, name: str, script: str = "") -> None:
        """Write `docker-credential-NAME`, which runs a script of the shell after it has read a line into $server."""
        path = self.folder / f"docker-credential-{name}"
        log = self.folder / f"{name}.log"
        path.write_text(f'#!/bin/sh\nread -r server\necho "$1 $server" >> {log}\n{script}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def asked(self, name: str) -> list[str]:
        """The requests to a helper so far."""
        log = self.folder / f"{name}.log"
        return log.read_text().splitlines() if log.exists() else []


def says(user: str, secret: str) -> str:
    """A script that answers with a credential."""
    return f"""echo '{json.dumps({"ServerURL": "x", "Username": user, "Secret": secret})}'"""
