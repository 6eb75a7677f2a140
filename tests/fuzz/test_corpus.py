"""Every input of the corpus is read again; `make fuzz` looks for new ones."""

from __future__ import annotations

import pytest

from tests.fuzz.bounds import CALLS, TooMuch, within_bounds
from tests.fuzz.mutation import changed_document, changed_tar
from tests.fuzz.seeds import CORPUS, corpus, seeds
from tests.fuzz.targets import DOCUMENTS, TARGETS

pytestmark = pytest.mark.usefixtures("traced_memory")

#: All of the corpus, in bytes.
_LARGEST = 300_000


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_breaks_a_parser_or_takes_too_much(target: str) -> None:
    inputs = {f"seed {number}": data for number, data in enumerate(seeds(target))}
    inputs |= {path.name: path.read_bytes() for path in corpus(target)}
    for name, data in inputs.items():
        try:
            within_bounds(TARGETS[target], data)
        except Exception as error:
            raise AssertionError(f"{target}: {name} broke it: {error!r}") from error


def test_the_corpus_is_small_and_of_these_targets() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= TARGETS.keys()
    assert sum(path.stat().st_size for target in TARGETS for path in corpus(target)) < _LARGEST


def test_a_target_beyond_its_bounds_is_found() -> None:
    with pytest.raises(AssertionError, match="64 MiB"):
        within_bounds(lambda data: [None for _ in [bytearray(64 << 20)]].clear(), b"")

    def endless(data: bytes) -> None:
        while True:
            len(data)

    with pytest.raises(TooMuch, match=f"more than {CALLS:,}"):
        within_bounds(endless, b"")


@pytest.mark.parametrize("target", sorted(DOCUMENTS))
def test_changed_documents_are_other_documents_within_the_limit(target: str) -> None:
    for number, data in enumerate(seeds(target)):
        made = {changed_document(data, 1 << 16, 100 * number + seed, lambda raw, _: raw[1:]) for seed in range(100)}
        assert len(made) > 20 or not data.startswith(b"{")
        for one in made:
            assert len(one) <= 1 << 16
            TARGETS[target](one)


def test_changed_tars_are_other_tars_within_the_limit() -> None:
    for number, data in enumerate(seeds("tar")):
        made = {changed_tar(data, 1 << 16, 100 * number + seed, lambda raw, _: raw[1:]) for seed in range(60)}
        assert len(made) > 5
        for one in made:
            assert len(one) <= 1 << 16
            TARGETS["tar"](one)
