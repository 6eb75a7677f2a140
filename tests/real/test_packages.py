"""The packages as people install them: built, put into empty environments, and run."""

from __future__ import annotations

import os
import subprocess
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.packages, pytest.mark.timeout(1800)]


def run(*words: str | Path, cwd: Path) -> str:
    """Run a program without the environment of the tests, and return what it writes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
    done = subprocess.run([*map(str, words)], cwd=cwd, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def empty_environment(place: Path) -> Path:
    """Make an environment with nothing but pip, and return the directory of its programs."""
    venv.create(place, with_pip=True)
    return place / "bin"


def test_the_packages_are_built_installed_without_an_index_and_run(tmp_path: Path) -> None:
    if not os.environ.get("PACKAGES"):
        pytest.skip("make packages runs it: it installs from an index")
    tools = empty_environment(tmp_path / "tools")
    run(tools / "pip", "install", "-q", "build", cwd=tmp_path)
    run(tools / "python", "-m", "build", "--outdir", tmp_path / "dist", ROOT, cwd=tmp_path)
    [wheel], [source] = (tmp_path / "dist").glob("*.whl"), (tmp_path / "dist").glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"hangar_async/__init__.py", "hangar_async/py.typed", "hangar_async/cli/main.py"} <= names
    assert not [name for name in names if name.startswith(("tests", "docs"))]
    with tarfile.open(source) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "Makefile", "Containerfile", "deploy/kubernetes/mirror-job.yaml", "docs/install.md"} <= held
    assert {"requirements.lock", "requirements-build.lock"} <= held
    house = tmp_path / "wheelhouse"
    lock = ("--require-hashes", "--only-binary", ":all:", "--requirement", ROOT / "requirements.lock")
    run(tools / "pip", "download", "-q", *lock, "--dest", house, cwd=tmp_path)
    for number, package in enumerate((wheel, source)):
        programs = empty_environment(tmp_path / f"environment{number}")
        if package == source:
            # Its build needs hatchling; what it runs with comes from the wheelhouse.
            own = tmp_path / "own"
            run(tools / "pip", "wheel", "-q", "--no-deps", "--wheel-dir", own, source, cwd=tmp_path)
            [package] = own.glob("*.whl")
        run(programs / "pip", "install", "-q", "--no-index", "--find-links", house, package, cwd=tmp_path)
        assert run(programs / "hangar-async", "--version", cwd=tmp_path).startswith("hangar-async ")
        assert "Examples:" in run(programs / "hangar-async", "save", "--help", cwd=tmp_path)
        run(programs / "hangar-async", "demo", f"demo{number}", "--quiet", cwd=tmp_path)
