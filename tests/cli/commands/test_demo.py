from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.programs import command, environment, run

#: Stops the program that saves, before its first step: it tells its pid, and waits until somebody opens the pipe.
_STOP = """
import os, sys
if "save" in sys.orig_argv:
    open("pid", "w").write(str(os.getpid()))
    open("gate").read()
"""


def parts_of(directory: Path) -> list[Path]:
    return sorted(directory.glob("saved-images.tar.gz.part*"))


def test_the_demo_saves_into_parts_and_lists_them(tmp_path: Path) -> None:
    done = run(tmp_path, "demo")
    assert done.returncode == 0, done.stderr
    directory = tmp_path / "demo"
    parts = parts_of(directory)
    assert len(parts) > 3
    assert {part.stat().st_size for part in parts[:-1]} == {1 << 20}
    for part in parts:
        assert f"  demo/{part.name}\n" in done.stdout
    with tarfile.open(fileobj=io.BytesIO(b"".join(part.read_bytes() for part in parts))) as archive:
        blobs = [entry for entry in archive if "/share/sha256/" in entry.name and entry.isfile()]
        for entry in blobs:
            file = archive.extractfile(entry)
            assert file is not None
            assert hashlib.sha256(file.read()).hexdigest() == Path(entry.name).name
    assert len(blobs) > 20
    lines = (directory / "images.txt").read_text().splitlines()
    names = [line for line in lines if not line.startswith("#")]
    saved = json.loads((directory / "saved-image-cache" / "saved-images-list.json").read_bytes())["List"]
    assert [f"{image['Source']}:{image['Tag']}" for image in saved] == names
    for image in saved:
        assert f"  {image['Source']}:{image['Tag']}: " in done.stdout
    assert re.search(r"^copied +6 images, 12 platforms$", done.stdout, re.MULTILINE)
    assert re.search(r"^mounted .*\n(.*\n)+?loaded +6 images, 12 platforms$", done.stdout, re.MULTILINE)
    # Once with what was pushed, once with what is served.
    assert len(re.findall(r"^same +6 images, 12 platforms$", done.stdout, re.MULTILINE)) == 2
    for shown in ("linux/amd64, linux/arm64, linux/arm/v7\n", "windows/amd64 (", ": artifact\n", "6 images"):
        assert shown in done.stdout


def test_the_demo_can_be_repeated_and_needs_nothing_of_the_user_s(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text("this is no JSON")
    elsewhere = {
        "SOURCE_REGISTRY": "127.0.0.1:9",
        "DEST_USERNAME": "y",
        "SOURCE_USERNAME": "x",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    for _ in range(2):
        done = run(tmp_path, "demo", "--quiet", "where/it/is/put", env=elsewhere)
        assert (done.returncode, done.stderr) == (0, "")
        assert parts_of(tmp_path / "where/it/is/put")


def test_global_flags_are_passed_on(tmp_path: Path) -> None:
    done = run(tmp_path, "--debug", "demo", "--quiet=true")
    assert done.returncode == 0, done.stderr
    assert " --part-size 1M --debug --quiet\n" in done.stdout
    assert re.search(r"load .* --debug --quiet\n", done.stdout)


def test_a_directory_that_cannot_be_had_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("a file")
    done = run(tmp_path, "demo")
    assert (done.returncode, done.stdout) == (2, "")
    place = tmp_path / "demo"
    assert done.stderr == f"hangar-async: {place} is no directory (the demo): choose another path\n"


def test_the_status_is_that_of_the_save(tmp_path: Path) -> None:
    (tmp_path / "demo" / "saved-images.tar.gz.part0").mkdir(parents=True)
    done = run(tmp_path, "demo")
    assert done.returncode == 3
    assert "saved-images-list.json:" not in done.stdout


def test_the_help_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from hangar_async.cli.main import run\n"
        "try:\n    run(['demo', '--help'])\n"
        "finally:\n    print(sorted({'aiohttp', 'zstandard', 'isal', 'msgspec', 'asyncio'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.search(r"DIRECTORY.*\[default: demo\]", done.stdout)
    assert done.stdout.endswith("[]\n")


@contextmanager
def stopped_in_save(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A demo whose program that saves waits before its first step; yields both, the latter by its pid."""
    site, directory = tmp_path / "site", tmp_path / "demo"
    for place in (site, directory):
        place.mkdir()
    (site / "sitecustomize.py").write_text(_STOP)
    os.mkfifo(directory / "gate")
    paths = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        command("demo"),
        cwd=tmp_path,
        env=environment(tmp_path, PYTHONPATH=paths),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # Opening waits for the other side; the pipe stays open, so that the other side goes on waiting.
        with (directory / "gate").open("w"):
            yield process, int((directory / "pid").read_text())
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_both_programs(tmp_path: Path, number: signal.Signals, status: int) -> None:
    with stopped_in_save(tmp_path) as (process, _):
        process.send_signal(number)
        # The end of its output is seen when both have ended: they share it.
        out, _ = process.communicate()
        assert process.returncode == status
        assert "saved-images-list.json:" not in out


def test_a_save_that_is_killed_is_told_as_a_shell_does(tmp_path: Path) -> None:
    with stopped_in_save(tmp_path) as (process, pid):
        os.kill(pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == 137
