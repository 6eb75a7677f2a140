"""Fuzzes one target, with the flags of libFuzzer: `python -m tests.fuzz.run TARGET [FLAG | DIRECTORY]...`."""

from __future__ import annotations

import sys

import atheris

from tests.fuzz.mutation import changed_document, changed_tar

# Not its hook for regular expressions, whose patterns can only be matched from the start.
atheris.enabled_hooks.add("str")
# Whatever reads what is foreign: our own code, and what it hands it to that is written in Python.
with atheris.instrument_imports(include=["hangar_async", "yarl", "email", "ipaddress", "gzip"]):
    from tests.fuzz.targets import DOCUMENTS, TARGETS


def _document(data: bytes, largest: int, seed: int) -> bytes:
    return changed_document(data, largest, seed, atheris.Mutate)


def _tar(data: bytes, largest: int, seed: int) -> bytes:
    return changed_tar(data, largest, seed, atheris.Mutate)


def main() -> None:
    """Run until libFuzzer ends it."""
    target = sys.argv.pop(1)
    # To merge, libFuzzer hands this to a shell, to be started again.
    sys.argv[0] = f"{sys.executable} -m tests.fuzz.run {target}"
    mutators = dict.fromkeys(DOCUMENTS, _document) | {"tar": _tar, "docker-archive": _tar}
    keywords = {"custom_mutator": mutators[target]} if target in mutators else {}
    atheris.Setup(sys.argv, TARGETS[target], **keywords)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
