"""Which secret goes to which host, for each kind of registry, and that none is shown anywhere."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions
from hangar_async.config.registries import RetryPolicy
from hangar_async.engine.events import Event
from hangar_async.engine.reports import Report
from hangar_async.engine.save import save
from tests.fakes.clock import FakeClock
from tests.faults.credential_kinds import KINDS, Ground, Kind


async def _save(ground: Ground, events: list[Event]) -> tuple[SaveOptions, Report]:
    settings = replace(ground.settings, retry=RetryPolicy(retries=0), stall_timeout=5.0)
    options = SaveOptions(
        images=[ground.image],
        destination=ground.place / "out.tar.gz",
        failed=ground.place / "failed.txt",
        environment=Environment(registries=settings),
    )
    return options, await save(options, events.append, clock=FakeClock().clock)


def _logged(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    """The log of the client, with tracebacks; the servers of the test have the same one."""
    formatter = logging.Formatter()
    yield from (formatter.format(one) for one in caplog.records if not one.name.startswith("hangar_async.server"))


def _shown(options: SaveOptions, report: Report, events: list[Event]) -> Iterator[str]:
    """Everything that a run says, keeps, or is represented by."""
    yield from (f"{event!r} {event}" for event in events)
    yield repr(report)
    yield repr(options)
    yield repr(options.environment.registries)
    for outcome in report.outcomes:
        error: BaseException | None = outcome.error
        if error is not None:
            yield "".join(traceback.format_exception(error))
        while error is not None:
            yield f"{error} {error!r} {vars(error)!r}"
            error = error.__cause__
    for path in options.environment.registries.credential_files:
        path.unlink()
    for path in options.destination.parent.glob("*"):
        if path.is_file():
            yield path.read_bytes().decode("latin-1")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "-"))
async def test_each_host_gets_its_own_secret_and_none_is_shown(
    kind: Kind, tmp_path: Path, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ground, events = Ground(tmp_path, authority), list[Event]()
    async with kind.open(ground):
        _, saved = await _save(ground, events)
        assert saved.status == 0, saved.outcomes
        assert ground.got() == kind.got
        ground.refuse()
        options, refused = await _save(ground, events)
        assert refused.status != 0
        assert ground.got() == kind.got
        shown = "\n".join([*_logged(caplog), *_shown(options, refused, events), repr(ground.settings)])
        secrets = ground.secrets()
    assert all(len(secret) >= 8 for secret in secrets)
    assert not [secret for secret in secrets if secret in shown]
