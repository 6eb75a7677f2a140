"""Gates: the words of their programs."""

import pytest

from hangar_async.config.gates import Gate
from hangar_async.errors import UsageError

VALUES = {"source": "a.io/x", "destination": "b.io/y", "digest": "sha256:0", "tag": "1"}


def test_the_fields_of_the_words() -> None:
    gate = Gate(("verify", "{source}@{digest}", "--to={destination}:{tag}", '{"json": 1}', "{}"))
    assert gate.command(VALUES) == ["verify", "a.io/x@sha256:0", "--to=b.io/y:1", '{"json": 1}', "{}"]
    assert gate.needs_target
    assert not Gate(("verify", "{source}")).needs_target


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the gate names no program"),
        (("", "x"), "the gate names no program"),
        (("x", "{dgest}"), r"\{dgest\} is no field of a gate: write \{digest\}"),
        (("x", "{name}"), r"\{name\} is no field of a gate: it has \{source\}, \{destination\}, \{digest\}, \{tag\}"),
    ],
)
def test_a_wrong_gate(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Gate(words)


def test_hidden_texts_are_not_shown() -> None:
    gate = Gate(("verify", "secret"), hidden=("secret", ""))
    assert gate.shown("no secret key") == "no *** key"
    assert "secret" not in repr(gate)
