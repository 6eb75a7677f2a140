"""The parts of the help that are the same for all commands: examples, descriptions in full, and global flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shutil import get_terminal_size
from typing import Any

from hangar_async.cli.argv import GLOBAL_FLAGS, LOG_FORMAT, LOG_FORMAT_HELP, SHORT_FLAGS
from hangar_async.cli.view.text import text_lines

#: Examples of each command; the first one is the simplest.
EXAMPLES = {
    "save": (
        "save -f images.txt                             # saved-images.tar.gz",
        "save -f images.txt -j 10 -c zstd -d out        # out.tar.zstd, ten images at once",
        "save -f images.txt --part --part-size 4000M    # parts for a FAT stick",
        "save -f images.txt -c dir -d mirror            # an OCI layout in mirror/",
    ),
    "sync": (
        "sync -f more.txt                      # into saved-image-cache",
        "sync -f more.txt -d mirror -j 10      # into what `save -c dir -d mirror` made",
    ),
    "load": (
        "load -s saved-images.tar.gz -d registry.local:5000 -j 10",
        "load -s saved-images.tar.gz -d registry.local:5000/mirror --image 'rancher/*'",
        "load -s saved-images.tar.gz -d registry.local:5000 --dry-run",
        "load -s saved-image-cache -d harbor.local --repo-type harbor",
    ),
    "load-validate": ("load-validate -s saved-images.tar.gz -d registry.local:5000 -j 10",),
    "mirror": (
        "mirror -f mirror-list.txt -j 10                          # lines SOURCE DEST TAG",
        "mirror -f rancher-images.txt -d registry.local:5000      # lines of one image",
        "mirror nginx:1.27 quay.io/prometheus/prometheus:v3.0.0 -d registry.local:5000",
    ),
    "mirror-validate": ("mirror-validate -f mirror-list.txt -j 10",),
    "serve": (
        "serve saved-images.tar.gz                       # at 127.0.0.1:5000",
        "serve saved-images.tar.gz --listen :5000        # for other machines",
        "serve saved-images.tar.gz --tls-cert server.pem --tls-key server.key --htpasswd users",
    ),
    "ls": (
        "ls saved-images.tar.gz          # an archive, or all its parts",
        "ls saved-images.tar.gz.part0    # the same by one of its parts",
        "ls saved-image-cache            # a cache directory",
        "ls saved-images.tar.gz --json",
    ),
    "verify": (
        "verify saved-images.tar.gz",
        "verify saved-images.tar.gz.part0 --quiet || echo broken",
        "verify saved-image-cache --json",
    ),
    "extract": (
        "extract saved-images.tar.gz nginx:1.27 -o nginx",
        "extract saved-images.tar.gz nginx:1.27 -o nginx.tar --format docker-archive",
        "extract saved-images.tar.gz nginx:1.27 busybox:1.36 -o images.tar.zst --for k3s",
    ),
    "compress": (
        "compress                                     # saved-image-cache into saved-images.tar.gz",
        "compress -f mirror -d out --format zstd      # out.tar.zstd",
        "compress --part --part-size 4000M",
    ),
    "merge": (
        "merge monday.tar.gz tuesday.tar.gz -d week           # week.tar.gz",
        "merge docker-saved.tar haul.tar.zst -d all --prefer last",
    ),
    "decompress": (
        "decompress -f saved-images.tar.gz             # into saved-image-cache",
        "decompress -f out.tar.zstd.part0 -d mirror    # all parts, by the name of one",
    ),
    "convert-list": (
        "convert-list -i rancher-images.txt            # rancher-images.txt.converted",
        "convert-list -i images.txt -o mirror.txt -d registry.local:5000/mirror",
    ),
    "report": (
        "report merge shard-1.json shard-2.json -o all.json",
        "report merge first.json again.json -o all.json --failed still-failed.txt",
    ),
    "login": (
        "login registry.example.com:5000 -u me         # asks for the password",
        "login registry.example.com -u me --password-stdin < password.txt",
    ),
    "logout": ("logout registry.example.com:5000",),
    "demo": ("demo", "demo /tmp/demo"),
    "completion": (
        "completion bash > ~/.local/share/bash-completion/completions/hangar-async",
        "completion zsh > ~/.zfunc/_hangar-async",
        "completion fish > ~/.config/fish/completions/hangar-async.fish",
    ),
}


#: The widest first column of a list; and the least room for texts beside it: they stand below where there is less.
_WIDEST, _LEAST = 30, 20
#: The columns of a terminal up to which typer's own least width of a help does not fit.
_NARROW = 52


def narrow_settings() -> dict[str, int]:
    """Return the settings of a help for a terminal that is narrower than typer's helps; none for others."""
    columns = get_terminal_size().columns
    return {"terminal_width": max(columns - 2, _LEAST)} if columns < _NARROW else {}


def usage_words(command: Any) -> list[str]:
    """Return the words of the usage line of a command: its arguments, in brackets where they may be left out."""
    names = [(one.metavar, one.required) for one in command.params if one.param_type_name == "argument"]
    return ["[OPTIONS]", *(name if needed or name.startswith("[") else f"[{name}]" for name, needed in names)]


def write_command(program: str, command: Any, context: Any, formatter: Any) -> None:
    """Write the arguments, the options, the global flags and the examples of a command."""
    arguments, options = [], []
    for parameter in command.get_params(context):
        name, text = parameter.get_help_record(context)
        if parameter.param_type_name == "argument":
            arguments.append((parameter.metavar, text))
        else:
            options.append((name, text))
    for title, rows in (("Arguments", arguments), ("Options", options)):
        if rows:
            _write_list(title, rows, formatter)
    write_global_flags(formatter)
    _write_examples(program, command.name, formatter)


def _write_list(title: str, rows: Sequence[tuple[str, str]], formatter: Any) -> None:
    """Write a list of names and texts, which are folded between their words."""
    indent = min(max(len(name) for name, _ in rows), _WIDEST) + 4
    longest = max(len(word) for _, text in rows for word in text.split())
    if formatter.width - indent < max(longest, _LEAST):
        indent = 6
    with formatter.section(title):
        for name, text in rows:
            lines = text_lines(text, formatter.width - indent)
            beside = len(name) + 4 <= indent
            formatter.write(f"  {name:<{indent - 4}}  {lines.pop(0)}\n" if beside else f"  {name}\n")
            for line in lines:
                formatter.write(f"{'':{indent}}{line}\n")


def _write_examples(program: str, command: str, formatter: Any) -> None:
    """Write the examples of a command, as they are pasted: nothing is wrapped."""
    if command in EXAMPLES:
        formatter.write("\nExamples:\n")
        for line in EXAMPLES[command]:
            formatter.write(f"  {program} {line}\n")


def write_commands(commands: Iterable[tuple[str, str]], formatter: Any) -> None:
    """Write the commands with the whole first paragraph of each description."""
    _write_list("Commands", [(name, " ".join(text.split("\n\n")[0].split())) for name, text in commands], formatter)


def write_global_flags(formatter: Any) -> None:
    """Write the flags that every command takes; they are taken out of the command line before typer reads it."""
    short = {long: f"{flag}, {long}" for flag, long in SHORT_FLAGS.items()}
    flags = [(short.get(flag, flag), text) for flag, (_, text) in GLOBAL_FLAGS.items()]
    _write_list("Global flags, also before the command", [*flags, (f"{LOG_FORMAT} FORMAT", LOG_FORMAT_HELP)], formatter)
