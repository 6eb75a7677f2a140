"""Suggestions for words of the command line that are none: typing errors, and commands of other tools."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

from hangar_async.cli.argv import GLOBAL_FLAGS, LOG_FORMAT, Grammar
from hangar_async.cli.view.text import one_line

if TYPE_CHECKING:
    from typer.exceptions import TyperException

#: Commands of Hangar, skopeo, crane and Docker that have another name here, and that name with its purpose.
_OTHERS = {
    "archive": "'compress' makes an archive of a directory, 'ls' shows one",
    "catalog": "'ls' shows the images of an archive",
    "check": "'verify' checks an archive, 'load-validate' a registry",
    "cat": "'extract' writes one image out of an archive",
    "cp": "'mirror' copies images from registry to registry",
    "copy": "'mirror' copies images from registry to registry",
    "diff": "'load-validate' and 'mirror-validate' compare images",
    "export": "'save' saves images of registries into an archive, 'extract' writes one out of it",
    "generate-list": "an image list is a text of one image a line",
    "get": "'save' saves the images of a list, 'extract' writes one out of an archive",
    "image": "'ls' shows the images of an archive",
    "images": "'ls' shows the images of an archive",
    "import": "'load' pushes the images of an archive into a registry",
    "info": "'ls --json' shows the images of an archive",
    "inspect": "'ls --json' shows the images of an archive",
    "list": "'ls' shows the images of an archive",
    "manifest": "'ls --json' shows the images of an archive, with their digests",
    "pack": "'compress' makes an archive of a directory",
    "pull": "'save' saves the images of a list into an archive",
    "push": "'load' pushes the images of an archive into a registry",
    "registry": "'serve' answers as a registry for the images of an archive",
    "run": "'serve' answers as a registry, from which a container engine pulls and runs images",
    "save-validate": "'save --validate' compares what it saved with its source",
    "search": "'ls' shows the images of an archive",
    "sync-validate": "'mirror-validate' compares images with their copies",
    "tag": "'load --to' and 'mirror' give images other names",
    "tar": "'compress' makes an archive of a directory",
    "unpack": "'decompress' unpacks an archive",
    "untar": "'decompress' unpacks an archive",
    "unzip": "'decompress' unpacks an archive",
    "validate": "'load-validate' compares an archive with a registry, 'verify' checks an archive",
    "version": "'--version' shows the version",
    "zip": "'compress' makes an archive of a directory",
}


def unknown_command(word: str, commands: Iterable[str]) -> str:
    """Write the message about a word that is no command, with a command that is meant by it."""
    if word in _OTHERS:
        return f"no such command {word!r}: {_OTHERS[word]}"
    return f"no such command {word!r}{_meant(word, commands)}"


def unknown_flag(word: str, flags: Iterable[str]) -> str:
    """Write the message about a word that is no flag of a command, with one that is meant by it."""
    return f"no such option: {word}{_meant(word, flags)}"


def _meant(word: str, words: Iterable[str]) -> str:
    found = get_close_matches(word, list(words), 2)
    return f". Did you mean {' or '.join(found)}?" if found else ""


def sentence(error: TyperException, grammar: Grammar) -> str:
    """Make the first half of a line of a message of typer; a wrong flag comes with the one that is meant."""
    if (flag := getattr(error, "option_name", "")) and hasattr(error, "possibilities"):
        return unknown_flag(flag, [*grammar.flags, *grammar.valued, *GLOBAL_FLAGS, LOG_FORMAT, "--help"])
    message = one_line(error.format_message()).removesuffix(".")
    return f"{message[:1].lower()}{message[1:]}"
