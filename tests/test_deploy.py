"""The files for systemd, Kubernetes and containers fit the program and the rules of their readers."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from ruamel.yaml import YAML

from hangar_async.cli.argv import normalise
from hangar_async.cli.main import _grammars, make_app
from hangar_async.jobfile.read import parse

ROOT = Path(__file__).parents[1]
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
MANIFESTS = sorted((ROOT / "deploy" / "kubernetes").iterdir())


def check(words: list[str]) -> None:
    """Check that the program takes a command line."""
    program: Any = typer.main.get_command(make_app())
    _, words = normalise(words, _grammars(program))
    with program.commands[words[0]].make_context(words[0], words[1:]) as context:
        assert context.params


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_start_what_the_program_takes(unit: Path) -> None:
    for line in re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE):
        program, *words = shlex.split(line)
        assert program.endswith("/hangar-async")
        check(words)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_containers_start_what_the_program_takes_and_need_no_root(manifest: Path) -> None:
    text = manifest.read_text()
    (arguments,) = re.findall(r"args: \[(.*)\]", text)
    check([word.strip().strip('"') for word in arguments.split(", ")])
    for rule in ("runAsNonRoot: true", "readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false"):
        assert rule in text


def test_the_job_file_of_the_deployment_is_right() -> None:
    documents = (ROOT / "deploy" / "kubernetes" / "watch.yaml").read_text().split("\n---\n")
    [config] = [YAML(typ="safe").load(text) for text in documents if "kind: ConfigMap" in text]
    jobs = parse(config["data"]["mirror.yaml"], Path("mirror.yaml"), {}).jobs
    assert all(job.schedule is not None for job in jobs)


def test_the_rules_for_prometheus_name_numbers_that_there_are() -> None:
    pytest.importorskip("prometheus_client")
    [group] = YAML(typ="safe").load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())["groups"]
    source = (ROOT / "hangar_async" / "server" / "job_metrics.py").read_text()
    known = {f"hangar_mirror_{name}" for name in re.findall(r'"hangar_mirror_(\w+)"', source)}
    known |= {f"hangar_mirror_{name}_seconds" for name in re.findall(r'\("((?:last|next)_\w+)", "', source)}
    page = (ROOT / "docs" / "daemon.md").read_text()
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        names = re.findall(r"hangar_mirror_\w+", rule["expr"])
        assert names
        assert set(names) <= known, names
    for name in known:
        assert f"`{name}" in page, name


def test_the_container_is_of_two_stages_and_without_root() -> None:
    text = (ROOT / "Containerfile").read_text()
    assert text.count("\nFROM ") == 2
    assert re.search(r"^USER [1-9][0-9]*:[1-9][0-9]*$", text, re.MULTILINE)
    for name in re.findall(r"^COPY (?!--from)(.*) \./?\S*$", text, re.MULTILINE):
        for path in name.split():
            assert (ROOT / path).exists(), path


def locked(name: str) -> dict[str, Version]:
    """Return the version of each package of a lock."""
    text = (ROOT / name).read_text()
    assert "://" not in text
    entries = re.findall(
        r"^([a-z0-9-]+)==(\S+)(?: ;.*?)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE
    )
    assert len(entries) == len(re.findall("^[a-z]", text, re.MULTILINE))
    return {package: Version(version) for package, version, _ in entries}


def test_the_locks_have_what_the_package_needs_with_digests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    needed = [*project["project"]["dependencies"], *extras["speed"], *extras["metrics"]]
    for name, lines in (
        ("requirements.lock", needed),
        ("requirements-build.lock", project["build-system"]["requires"]),
    ):
        versions = locked(name)
        for requirement in map(Requirement, lines):
            package = canonicalize_name(requirement.name)
            assert versions[package] in requirement.specifier, f"{package} in {name}: make lock"


@pytest.mark.extra
def test_the_units_are_right_for_systemd(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/hangar-async/bin/hangar-async", "/bin/true"))
    paths = [str(tmp_path / unit.name) for unit in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if "hangar-async" in line], done.stderr


@pytest.mark.extra
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_the_manifests_are_right_for_kubernetes(manifest: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    yaml = pytest.importorskip("yaml")
    for document in yaml.safe_load_all(manifest.read_text()):
        validate.validate(document, validate.latest_version(), strict=True)
