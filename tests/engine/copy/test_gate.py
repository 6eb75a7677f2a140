"""Images get their tags only where a gate lets them, and with the referrers that they must have."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.gates import Gate
from hangar_async.config.target_options import MirrorOptions
from hangar_async.engine.copy import gate as gate_module
from hangar_async.engine.mirror import mirror
from hangar_async.engine.reports import MirrorOutcome
from hangar_async.errors import NotAdmitted, UsageError
from hangar_async.oci import COSIGN_TYPES
from hangar_async.testing.images import artifact, index
from tests.engine.push.rig import referrer
from tests.engine.signed import Signed
from tests.engine.test_mirror import SETTINGS, options, run, wire
from tests.fakes.faults import Status
from tests.fakes.images import ARM64, small
from tests.fakes.registry import FakeRegistry

LINE = "SOURCE/team/app:1"


def shell(script: str, *words: str, **keywords: Any) -> Gate:
    return Gate(("/bin/sh", "-c", script, "gate", *words), **keywords)


async def mirrored(source: FakeRegistry, target: FakeRegistry, line: str = LINE, **keywords: Any) -> MirrorOutcome:
    return (await run(source, target, line, **keywords)).outcomes[0]


async def tag(registry: FakeRegistry) -> list[str]:
    return list(await registry.content.tags("copies/team/app") or ())


async def test_a_gate_judges_when_the_content_is_there_and_the_tag_is_not(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    digest = fake_registry.add("team/app:1", index([small("app"), small("arm", platform=ARM64)]))
    words = ("{source}", "{destination}", "{digest}", "{tag}")
    refusing = shell(f"echo $0 $* > {tmp_path}/asked; echo it is not signed; echo >&2; exit 7", *words)
    outcome = await mirrored(fake_registry, pushable_registry, gate=refusing)
    assert isinstance(outcome.error, NotAdmitted)
    name = f"{fake_registry.address}/team/app"
    assert str(outcome.error) == (f"the gate /bin/sh refuses {name}@{digest}: it ended with status 7: it is not signed")
    target = f"{pushable_registry.address}/copies/team/app"
    assert (tmp_path / "asked").read_text() == f"gate {name} {target} {digest} 1\n"
    assert await tag(pushable_registry) == []
    # A gate that reads the target finds the image there.
    assert await pushable_registry.content.resolve("copies/team/app", digest) is not None
    outcome = await mirrored(fake_registry, pushable_registry, gate=shell("exit 0"))
    assert (outcome.state, await tag(pushable_registry)) == ("copied", ["1"])
    # The tag is right already.
    assert (await mirrored(fake_registry, pushable_registry, gate=refusing)).state == "unchanged"


async def test_a_gate_that_reads_the_source_leaves_no_image_behind(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    digest = fake_registry.add("team/app:1", small("app"))
    await mirrored(fake_registry, pushable_registry, gate=shell("exit 1", "{source}"))
    assert await pushable_registry.content.resolve("copies/team/app", digest) is None


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        (Gate(("/nowhere/cosign",)), "the gate /nowhere/cosign cannot be run: No such file or directory"),
        (shell("sleep 600", seconds=0.05), "within 0.05 seconds"),
        (shell("kill -9 $$"), "it was ended by signal 9"),
        (shell("echo the key secret is wrong; exit 1", "secret", hidden=("secret",)), r"the key \*\*\* is wrong"),
        (shell("exit 1", "\0"), "cannot be run: embedded null byte"),
    ],
)
async def test_an_image_fails_where_its_gate_does(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, gate: Gate, why: str
) -> None:
    fake_registry.add("team/app:1", small("app"))
    outcome = await mirrored(fake_registry, pushable_registry, gate=gate)
    with pytest.raises(NotAdmitted, match=why):
        raise outcome.error or AssertionError
    assert await tag(pushable_registry) == []


async def test_a_gate_has_no_passwords_of_the_run(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fake_registry.add("team/app:1", small("app"))
    variables = {"PATH": "/bin:/usr/bin", "SOURCE_PASSWORD": "x", "DEST_PASSWORD": "y", "DOCKER_CONFIG": "/d"}
    environment = Environment(registries=SETTINGS, destinations=SETTINGS, variables=variables)
    gate = Gate(("sh", "-c", f"env > {tmp_path}/seen"))
    assert (await mirrored(fake_registry, pushable_registry, gate=gate, environment=environment)).ok
    seen = (tmp_path / "seen").read_text()
    assert "DOCKER_CONFIG=/d\n" in seen
    assert "PASSWORD" not in seen


async def test_four_gates_run_at_a_time(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, most, four = 0, 0, asyncio.Event()

    async def running(*words: Any, **keywords: Any) -> tuple[int, bytes]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 4:
            four.set()
        await four.wait()
        await asyncio.sleep(0)
        now -= 1
        return 0, b""

    monkeypatch.setattr(gate_module, "run_program", running)
    for number in range(12):
        fake_registry.add(f"team/app:{number}", small("app"))
    lines = [f"SOURCE/team/app:{number}" for number in range(12)]
    await mirror(options(fake_registry, pushable_registry, *lines, gate=shell("exit 0"), jobs=12))
    assert most == 4


async def test_an_image_without_a_tag_is_not_there_before_its_gate(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    digest = fake_registry.add("team/app:1", small("app"))
    line = f"SOURCE/team/app@{digest}"
    outcome = await mirrored(fake_registry, pushable_registry, line, gate=shell("exit 1", "{source}"))
    assert isinstance(outcome.error, NotAdmitted)
    assert await pushable_registry.content.resolve("copies/team/app", digest) is None
    outcome = await mirrored(fake_registry, pushable_registry, line, gate=shell("exit 0", "{destination}"))
    assert "has no tag" in str(outcome.error)
    assert await pushable_registry.content.resolve("copies/team/app", digest) is None


SIGNATURE = COSIGN_TYPES["sig"]


async def test_a_required_referrer(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> None:
    Signed(fake_registry.address, Path()).add_to(fake_registry)
    outcome = await mirrored(fake_registry, pushable_registry, required_referrers=[SIGNATURE])
    assert outcome.state == "copied", outcome.error
    fake_registry.add("team/app:1", small("unsigned"))
    for dry_run in (True, False):
        wire(pushable_registry)
        outcome = await mirrored(fake_registry, pushable_registry, required_referrers=[SIGNATURE], dry_run=dry_run)
        assert f"team/app:1 has no referrer of the type {SIGNATURE}" in str(outcome.error)
        assert {method for method, _ in wire(pushable_registry)} == {"HEAD"}


def signed_platforms(registry: FakeRegistry, count: int) -> None:
    """Put an index of two platforms of which some have a referrer."""
    children = [small("app"), small("arm", platform=ARM64)]
    registry.add("team/app:1", index(children))
    for child in children[:count]:
        registry.add("team/app", referrer(child, "signature"))


async def test_each_platform_may_have_its_own(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> None:
    kind = "application/vnd.example.signature"
    signed_platforms(fake_registry, 1)
    outcome = await mirrored(fake_registry, pushable_registry, required_referrers=[kind])
    assert isinstance(outcome.error, NotAdmitted)
    signed_platforms(fake_registry, 2)
    outcome = await mirrored(fake_registry, pushable_registry, required_referrers=[kind])
    assert outcome.state == "copied", outcome.error


async def test_a_required_referrer_must_be_at_the_target(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    signed = Signed(fake_registry.address, Path())
    signed.add_to(fake_registry)
    signature = artifact("application/vnd.oci.image.config.v1+json", b"sig", "text/sig")
    pushable_registry.fail(f"/manifests/{signature.digest}", Status(400), method="PUT", times=None)
    outcome = await mirrored(fake_registry, pushable_registry, required_referrers=[SIGNATURE])
    assert isinstance(outcome.error, NotAdmitted)
    assert "left out the referrer" in str(outcome.error)
    assert "1" not in await tag(pushable_registry)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"referrers": "none", "required_referrers": ["a/b"]}, "a/b are required, and are not copied"),
        ({"gate": Gate(("x", "{destination}")), "architectures": ["amd64"]}, "needs all platforms"),
    ],
)
def test_options_that_cannot_be(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MirrorOptions(
            **{"images": ["a:1"], "destination": "b.io", "architectures": ["all"], "systems": ["all"], **keywords}
        )
