"""Values that a file reads are hidden, and no others."""

from __future__ import annotations

import json

from hangar_async.config.variables import NotedVariables


def test_values_that_were_read_are_hidden() -> None:
    variables = NotedVariables(
        {"HOOK": "https://h.io/s3cret", "PATH": "/usr/bin", "N": "7", "ODD": 'a"\\ä/x', "IN": "h.io"}
    )
    assert (len(variables), set(variables)) == (5, {"HOOK", "PATH", "N", "ODD", "IN"})
    text = 'POST https://h.io/s3cret of /usr/bin at h.io, 7 of "'
    assert variables.hide(text) == text
    assert variables.get("MISSING") is None
    for name in ("IN", "HOOK", "N", "ODD"):
        assert variables[name]
    # The longer value goes first, and one of a few letters is in too many words.
    assert variables.hide(text) == 'POST ${HOOK} of /usr/bin at ${IN}, 7 of "'
    assert variables.hide(json.dumps({"text": 'a"\\ä/x'})) == '{"text": "${ODD}"}'
