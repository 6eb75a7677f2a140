"""Job files that name two fake registries, and options to run them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hangar_async.config.environment import Environment
from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.testing.images import Built
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry

RETRY = RetryPolicy(retries=1, first=0.0, longest=0.0, outage_pauses=(0.0,))
SETTINGS = RegistrySettings(retry=RETRY, stall_timeout=20.0)


def options(
    directory: Path, jobs: str, source: FakeRegistry, target: FakeRegistry, **keywords: Any
) -> MirrorJobsOptions:
    """Write a job file; SOURCE and TARGET in it are the registries."""
    path = directory / "mirror.yaml"
    text = f"version: 1\ndefaults: {{to: 'TARGET/copies/{{name}}'}}\njobs:\n{jobs}"
    path.write_text(text.replace("SOURCE", source.address).replace("TARGET", target.address))
    environment = Environment(registries=SETTINGS, destinations=SETTINGS)
    return MirrorJobsOptions(**{"config": path, "environment": environment, "jobs": 4, **keywords})


def fill(registry: FakeRegistry, repository: str, tags: str, created: str = "") -> Built:
    """Put one image under some tags of a repository, and return it."""
    built = small(repository, created=created) if created else small(repository)
    for tag in tags.split():
        registry.add(f"{repository}:{tag}", built)
    return built


def wire(registry: FakeRegistry) -> list[tuple[str, str]]:
    """List the requests but those that look for the registry, and forget them."""
    found = [(one.method, one.path.partition("?")[0]) for one in registry.requests if one.path not in ("/v2/", "/v2")]
    registry.requests.clear()
    return found


#: A job whose names are variables.
SECRET_JOB = """\
- name: apps
  from: ["${FROM}/${TEAM}/app", "${FROM}/${TEAM}/bad"]
  to: "${TO}/copies-${TEAM}/{name}"
  tags: {match: "*", also: ["${TAG}"]}
"""


def secret(directory: Path, source: FakeRegistry, target: FakeRegistry, **keywords: Any) -> MirrorJobsOptions:
    """Options of a job whose names are variables, in an environment with the values."""
    made = options(directory, SECRET_JOB, source, target, **{"failed": directory / "failed.txt", **keywords})
    variables = {"FROM": source.address, "TO": target.address, "TEAM": "hidden-team", "TAG": "hidden-tag"}
    # No text of the file names it, so that its value is no secret.
    variables["USER"] = "copies"
    return replace(made, environment=replace(made.environment, variables=variables))
