"""Job files and plans, and the lists of registries that jobs choose from."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hangar_async.engine.jobs.plan import read_plan
from hangar_async.errors import ContentError, UsageError
from hangar_async.jobfile.read import parse
from hangar_async.oci.reference import Reference, is_repository
from hangar_async.registry import harbor, lists
from tests.refusal import attempt, check_told

_REGISTRY = "registry.example"
_VARIABLES = {"TEAM": "team", "SECRET": "hidden-value", "EMPTY": ""}


def job_file(data: bytes) -> None:
    """Read a job file; each of its sources is an image that reads back as the same."""
    text = data.decode("utf-8", "replace")
    file = attempt(lambda: parse(text, Path("jobs.yaml"), _VARIABLES), UsageError)
    if file is None:
        return
    assert len({job.name for job in file.jobs}) == len(file.jobs)
    for job in file.jobs:
        for source in job.sources:
            assert Reference.parse(str(source.example)) == source.example


def plan(data: bytes) -> None:
    """Read a plan."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "plan.json")
        path.write_bytes(data)
        try:
            read_plan(path)
        except UsageError as error:
            check_told(UsageError(" ".join(str(error).replace(directory, "").split())))


def tags(data: bytes) -> None:
    """Read a page of tags; a request can name each."""
    found = attempt(lambda: lists.parse_tags(data, "the tags of a from registry.example"), ContentError)
    if found is not None:
        count, names = found
        assert len(names) <= count
        for name in names:
            assert Reference.parse(f"{_REGISTRY}/team/app:{name}").tag == name


def repositories(data: bytes) -> None:
    """Read a page of a catalog, and one of a Harbor; a request can name each repository of the catalog."""
    found = attempt(lambda: lists.parse_repositories(data, "the repositories of registry.example"), ContentError)
    if found is not None:
        count, names = found
        assert len(names) <= count
        assert all(map(is_repository, names))
    attempt(lambda: harbor.parse_repositories(data, "the repositories of project a"), ContentError)
