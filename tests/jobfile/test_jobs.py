"""Names of a job's images at another registry."""

from __future__ import annotations

import pytest

from hangar_async.errors import UsageError
from hangar_async.jobfile.document import Place
from hangar_async.jobfile.jobs import Job, JobFile, Prune, Source
from hangar_async.oci import Reference

HERE = Place("m.yaml", 1, 1)


@pytest.mark.parametrize(
    ("pattern", "repository", "stars"),
    [
        ("prometheus/*", "prometheus/node-exporter", ("node-exporter",)),
        ("prometheus/*", "prometheus/a/b", None),
        ("group/**", "group/a/b", ("a/b",)),
        ("*/app-*", "team/app-x", ("team", "x")),
        ("a.b/*", "axb/c", None),
    ],
)
def test_wildcards_of_a_source(pattern: str, repository: str, stars: tuple[str, ...] | None) -> None:
    assert Source("quay.io", pattern, HERE).stars(repository) == stars


def test_an_example_of_a_pattern() -> None:
    assert str(Source("quay.io", "team/**-*", HERE).example) == "quay.io/team/x-x:latest"


@pytest.mark.parametrize(
    ("pattern", "to", "target"),
    [
        ("team/*", "reg.local/{1}", "reg.local/app:1"),
        ("*/app", "reg.local/x/{1}-{name}", "reg.local/x/team-app:1"),
        ("team/app", "reg.local/{1}/{name}", "reg.local/team/app:1"),
        ("team/app", "reg.local/{registry}/{repository}", "reg.local/quay.io/team/app:1"),
    ],
)
def test_the_target_of_an_image(pattern: str, to: str, target: str) -> None:
    job = Job("x", HERE, to=to)
    image = Reference("quay.io", "team/app", "1")
    assert str(job.target(Source("quay.io", pattern, HERE), image)) == target


def test_a_wildcard_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"\{2\} is no wildcard: the source has 1"):
        Job("x", HERE, to="reg.local/{2}").target(Source("quay.io", "a/*", HERE), Reference("quay.io", "a/b", "1"))


def test_some_jobs_of_a_file() -> None:
    jobs = tuple(Job(name, HERE) for name in "abc")
    file = JobFile("m.yaml", jobs)
    assert file.only(()) == jobs
    assert [job.name for job in file.only(("c", "a"))] == ["a", "c"]
    with pytest.raises(UsageError, match=r"m.yaml has no job 'd' \(--only\): it has a, b, c"):
        file.only(("a", "d"))


@pytest.mark.parametrize(
    ("pattern", "to", "target", "expected"),
    [
        ("team/app", "reg.local/{name}", "reg.local/app", True),
        ("team/app", "reg.local/{name}", "reg.local/other", False),
        ("team/*", "reg.local/x/{1}", "reg.local/x/other", True),
        ("team/*", "reg.local/x/{1}", "reg.local/y/other", False),
        ("team/*", "reg.local/x-{name}.y", "reg.local/x-a.y", True),
        ("team/*", "reg.local/x-{name}.y", "reg.local/x-a-y", False),
    ],
)
def test_the_targets_that_a_job_may_have(pattern: str, to: str, target: str, expected: bool) -> None:
    assert Job("x", HERE, (Source("quay.io", pattern, HERE),), to=to).may_have(target) == expected


@pytest.mark.parametrize(
    ("prune", "most", "allowed"),
    [
        (Prune(), "50%", [(1, 2), (5, 10), (0, 0)]),
        (Prune(percent=10), "10%", [(1, 10), (10, 100)]),
        (Prune(number=3), "3", [(3, 3)]),
    ],
)
def test_the_most_that_a_run_removes(prune: Prune, most: str, allowed: list[tuple[int, int]]) -> None:
    assert prune.most == most
    for count, tags in allowed:
        assert prune.allows(count, tags)
        assert not prune.allows(count + 1, tags)
