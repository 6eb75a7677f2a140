"""Values of variables are hidden in all texts of reports and events, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hangar_async.config.variables import NotedVariables
from hangar_async.engine.events import BlobProgress, Event, ImageEnded, ImagePlanned, Notice, QuotaReported
from hangar_async.engine.outcomes import Need
from hangar_async.engine.reporting.document import record_of
from hangar_async.engine.reporting.hiding import ShownReference, hiding, shown, shown_errors
from hangar_async.engine.reports import MirrorOutcome
from hangar_async.errors import NotFound, SourceError, UsageError
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Digest, Reference

VALUES = {"REG": "secret.lan:5000", "TEAM": "secret-team", "WORD": "copied", "BOTH": "whole.lan/secret/app"}
DIGEST = Digest.of(b"x")


def noted() -> NotedVariables:
    variables = NotedVariables(VALUES)
    assert all(variables[name] for name in variables)
    return variables


HIDE = noted().hide


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("secret.lan:5000/secret-team/app:v1", "${REG}/${TEAM}/app:v1"),
        ("secret.lan:5000/app:secret-team", "${REG}/app:${TEAM}"),
        ("whole.lan/secret/app:v1", "${BOTH}:v1"),
        ("whole.lan/secret/app-more:v1", "${BOTH}-more:v1"),
        (f"other.lan/my-secret-team@{DIGEST}", f"other.lan/my-${{TEAM}}@{DIGEST}"),
    ],
)
def test_a_name_is_hidden_in_all_its_parts(name: str, expected: str) -> None:
    found = shown(Reference.parse(name), HIDE)
    assert isinstance(found, ShownReference)
    assert str(found) == expected
    assert found.name == expected.partition("@")[0].rpartition(":")[0] or found.tag is None


def test_a_digest_stays_whole_where_a_value_is_a_part_of_it() -> None:
    variables = NotedVariables({"PORT": str(DIGEST)[20:24]})
    assert variables["PORT"]
    assert shown([str(DIGEST), f"of {DIGEST}"], variables.hide) == [str(DIGEST), f"of {variables.hide(str(DIGEST))}"]
    assert variables.hide(str(DIGEST)) != str(DIGEST)


def test_what_has_no_value_is_the_same() -> None:
    entry = MirrorEntry(1, "a", Reference("in.local", "app"), Reference("out.local", "app"))
    values: list[object] = [MirrorOutcome(entry, "copied", DIGEST), Notice("x"), (1, "a", None), Need(1, 2), {}, DIGEST]
    for value in values:
        assert shown(value, HIDE) == value
    outcome = MirrorOutcome(entry, "copied", DIGEST, note="plain")
    assert shown(outcome, HIDE) is outcome


def test_an_outcome_hides_its_texts_and_keeps_the_words_of_the_program() -> None:
    source, target = Reference("secret.lan:5000", "secret-team/app", "v1"), Reference("out.local", "app", "v1")
    failure = NotFound("secret.lan:5000 has it not", host="secret.lan:5000", status=404, advice="ask secret-team")
    entry = MirrorEntry(3, "secret.lan:5000/secret-team/app out.local/app v1", source, target)
    error = SourceError("secret.lan:5000 failed", failure=failure)
    outcome = MirrorOutcome(entry, "copied", DIGEST, note="of secret-team", error=error)
    found = shown(outcome, HIDE)
    assert (found.state, found.source_digest, found.name) == ("copied", DIGEST, "${REG}/${TEAM}/app:v1")
    assert (found.entry.text, found.note) == ("${REG}/${TEAM}/app out.local/app v1", "of ${TEAM}")
    assert isinstance(found.error, SourceError)
    assert isinstance(found.error.failure, NotFound)
    assert (found.error.failure.host, found.error.failure.status) == ("${REG}", 404)
    assert str(outcome.error) == "secret.lan:5000 failed"
    for text in (str(found.error), found.error.advice, str(record_of(found)), repr(found)):
        assert "secret" not in text
    record = shown(record_of(replace(outcome, error=None)), HIDE)
    assert (record.status, record.name) == ("done", "${REG}/${TEAM}/app:v1")


def test_events_are_hidden() -> None:
    seen: list[Event] = []
    observe = hiding(seen.append, HIDE)
    progress = BlobProgress(DIGEST, 1, 2)
    entry = MirrorEntry(1, "x", Reference("secret.lan:5000", "app"), Reference("out.local", "app"))
    for event in (
        progress,
        Notice("secret.lan:5000 is slow"),
        ImagePlanned("secret.lan:5000/app:1", 1, 2, 3),
        QuotaReported("secret.lan:5000", 1, 2, 3),
        ImageEnded(MirrorOutcome(entry, "unchanged")),
    ):
        observe(event)
    assert seen[0] is progress
    assert "secret" not in repr(seen)


def test_errors_are_hidden_with_their_causes() -> None:
    with pytest.raises(UsageError) as raised, shown_errors(HIDE):
        try:
            raise ValueError("secret.lan:5000")
        except ValueError as error:
            raise UsageError("cannot use secret.lan:5000", advice="ask secret-team") from error
    assert (str(raised.value), raised.value.advice) == ("cannot use ${REG}", "ask ${TEAM}")
    assert raised.value.__cause__ is None
    with pytest.raises(UsageError) as raised, shown_errors(HIDE):
        raise UsageError("plain") from ValueError()
    assert isinstance(raised.value.__cause__, ValueError)
