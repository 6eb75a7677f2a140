"""Names that the settings of a machine make others of, with a real resolver and a server of names."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hangar_async.registry.http.addresses import is_internal
from tests.environments.rig import ROOT, need

#: Run in a network of its own: `alias` is made `inner.test` by a file of aliases, which a server of names answers for.
_PROGRAM = """
import asyncio, json, os, socket, subprocess, sys, threading
from hangar_async.errors import NetworkError
from hangar_async.registry.http.resolver import OutsideResolver

aliases, servers, address = sys.argv[1:]
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["mount", "--bind", servers, "/etc/resolv.conf"], check=True)
os.environ["HOSTALIASES"] = aliases
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("127.0.0.1", 53))
asked = []

def answer():
    while True:
        question, client = names.recvfrom(512)
        body = question[12:question.index(bytes(1), 12) + 5]
        asked.append(body[:-4].decode())
        is_four = body[-4:-2] == bytes([0, 1])
        found = bytes([192, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]) + socket.inet_aton(address) if is_four else b""
        counts = bytes([0, 1, 0, int(is_four), 0, 0, 0, 0])
        names.sendto(question[:2] + bytes([129, 128]) + counts + body + found, client)

async def look():
    try:
        return sorted({one["host"] for one in await OutsideResolver().resolve("alias", 443, socket.AF_UNSPEC)})
    except NetworkError as error:
        return str(error)

threading.Thread(target=answer, daemon=True).start()
found = asyncio.run(look())
print(json.dumps([found, any("inner" in name for name in asked)]))
"""


@pytest.mark.parametrize("address", ["127.0.0.1", "198.51.100.7"])
async def test_an_alias_of_a_host_leads_no_further_than_its_name(tmp_path: Path, address: str) -> None:
    """`HOSTALIASES` gives a name the addresses of another one, and the addresses decide."""
    before = ("unshare", "-m", "-n")
    need(*before, "ip", "link", "set", "lo", "up")
    (tmp_path / "aliases").write_text("alias inner.test\n")
    (tmp_path / "servers").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n")
    words = (*before, sys.executable, "-c", _PROGRAM, str(tmp_path / "aliases"), str(tmp_path / "servers"), address)
    process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    found, is_aliased = json.loads(out)
    assert is_aliased
    if is_internal(address):
        assert "alias has an address on this machine or its link" in found
    else:
        assert found == [address]
