"""Wrong keys and types are told with the nearest right ones."""

from __future__ import annotations

import pytest

from hangar_async.errors import UsageError
from hangar_async.jobfile.document import parse_document
from hangar_async.jobfile.fields import FileFields
from hangar_async.jobfile.shape import check_shape
from tests.jobfile.rig import WHOLE

JOB = "version: 1\njobs:\n- name: x\n  {}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\njbos: []", "2:1: `jbos` is no field of the file: write `jobs`"),
        ("version: 1", "1:1: the file has no `jobs`"),
        ("version: 2\njobs: []", "1:10: `version` is 2: write 1"),
        ("version: '1'\njobs: []", "1:10: `version` is the text '1': write 1 without quotes"),
        ("version: true\njobs: []", "1:10: `version` is true: write 1"),
        (
            "[]",
            "1:1: the file is a list: write a mapping of version, state, registries, defaults, notify, report, jobs",
        ),
        ("version: 1\njobs: {}", "2:7: `jobs` is a mapping: write a list, each a mapping of .*name, from, list"),
        ("version: 1\njobs: []\nregistries: []", "3:13: `registries` is a list: write a mapping"),
        ("version: 1\njobs: []\nregistries: {a: {create: x}}", "3:26: `create` is x: write ecr or harbor or none"),
        ("version: 1\njobs: [{from: x}]", "2:8: `jobs` has no `name`"),
        (JOB.format("plattforms: x"), "4:3: `plattforms` is no field of `jobs`: write `platforms`"),
        (JOB.format("zzz: x"), "4:3: `zzz` is no field of `jobs`: it has credentials, cron, "),
        (JOB.format("tags: {newer_than: 3d}"), "4:10: `newer_than` is no field of `tags`: write `newer-than`"),
        (JOB.format("tags: {also: [a, 1.10]}"), '4:20: `also` has 1.10, which is read as a number: .*, "1.10"'),
        (JOB.format("tags: true"), '4:9: `tags` has true, which is read as a word: write it in quotes, "true"'),
        (JOB.format("tags: {newest: 0}"), "4:18: `newest` is 0: write a whole number from 1 on"),
        (JOB.format("tags: {newest: two}"), "4:18: `newest` is two: write a whole number from 1 on"),
        (JOB.format("tags: {prereleases: on}"), "4:23: `prereleases` is on: write true or false"),
        (JOB.format("tags: {per: minors}"), "4:15: `per` is minors: write major or minor"),
        (JOB.format("platforms:"), "4:13: `platforms` is empty: write a text or a list, each a text, or leave it out"),
        (JOB.format("to: {a: b}"), "4:7: `to` is a mapping: write a text"),
    ],
)
def test_a_wrong_shape_names_its_place(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^m.yaml:{message}"):
        check_shape(parse_document(text, "m.yaml", {}), FileFields)


def test_a_right_shape() -> None:
    check_shape(parse_document(WHOLE, "m.yaml", {}), FileFields)
