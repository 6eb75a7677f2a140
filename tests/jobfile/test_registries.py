"""The settings of registries in a job file."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.config.creation import Creation
from hangar_async.config.environment import Environment
from hangar_async.errors import UsageError
from hangar_async.jobfile.read import parse
from tests.fakes.ecr import ECR, POLICY
from tests.jobfile.rig import changed, read


def test_the_settings_of_registries(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(POLICY)
    registries = (
        f"{{keep-quota: 20, requests: 8}}\n  {ECR}: {{create: ecr, immutable-tags: true, lifecycle: policy.json}}"
    )
    text = changed("docker.io: {create: none}", f"index.docker.io: {registries}")
    file = parse(text.replace("create: harbor", "create: harbor, public: true"), tmp_path / "mirror.yaml", {})
    policy = tmp_path / "policy.json"
    assert file.creations == {
        "harbor.lan": Creation("harbor", public=True),
        ECR: Creation("ecr", immutable_tags=True, lifecycle=policy),
    }
    limits = file.limited(Environment()).registries.retry
    assert (limits.kept("docker.io"), limits.most_requests("docker.io", 60)) == (20, 8)
    assert (limits.kept("harbor.lan"), limits.most_requests("harbor.lan", 60)) == (None, 60)
    assert file.limited(Environment()).destinations.retry.hosts == file.limits


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{create: none}", "{requests: 61}", "4:25: `requests` is 61: write a number from 1 to 60"),
        ("{create: none}", "{requests: 0}", "4:25: `requests` is 0: write a whole number from 1 on"),
        ("{create: none}", "{keep-quota: -1}", "4:27: `keep-quota` is -1: write a whole number from 0 on"),
        ("{create: none}", "{create: ecr}", "4:23: docker.io is no registry of Amazon ECR"),
        ("{create: none}", "{public: true}", "4:15: `public` has a meaning beside `create: harbor` alone"),
        ("{create: harbor}", "{create: harbor, lifecycle: x}", "3:32: `lifecycle` has a meaning beside `create: ecr`"),
        ("  docker.io: {", f"  {ECR}: {{create: ecr, lifecycle: /x/y}}\n  a.io: {{", "4:77: cannot read the lifecycle"),
        ("  docker.io: {", "  docker.io: {}\n  index.docker.io: {", "5:3: index.docker.io is docker.io, which stands"),
        ("{create: none}", "{creat: ecr}", "4:15: `creat` is no field of `registries`: write `create`"),
    ],
)
def test_a_fault_names_its_place(old: str, new: str, message: str) -> None:
    place, _, text = message.partition(": ")
    # The field's name, where the text does not have it.
    with pytest.raises(UsageError, match=f"^jobs/mirror.yaml:{place}: (`[a-z-]+`: )?{text}"):
        read(changed(old, new))
