"""Completion of command lines in shells: scripts that are made of the commands and their options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hangar_async.cli.argv import GLOBAL_FLAGS, LOG_FORMAT, LOG_FORMAT_HELP, LOG_FORMATS

SHELLS = ("bash", "zsh", "fish")
#: The values of options that have few.
_CHOICES = {
    "--arch": "amd64 arm64 arm/v7 386 ppc64le s390x riscv64 all",
    "--checksum": "sha256 none",
    "--compress": "gzip zstd dir",
    "--index": "original partial auto",
    "--os": "linux windows all",
    "--on-existing-tag": "overwrite skip error",
    "--overwrite": "moved never",
    "--prefer": "first last",
    "--repo-type": "harbor ecr",
}
#: Those of `--format`, by command.
_FORMATS = {"extract": "oci docker-archive", "compress": "gzip zstd", "decompress": "gzip zstd", "merge": "gzip zstd"}


def script(shell: str, program: str, commands: Mapping[str, Any]) -> str:
    """Make the script of a shell for a program with some commands, which are those of typer."""
    makers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    return "\n".join(makers[shell](program, commands))


def _options(command: Any) -> list[Any]:
    return [parameter for parameter in command.params if parameter.param_type_name == "option"]


def _spellings(option: Any) -> list[str]:
    return [*option.opts, *option.secondary_opts]


def _values(name: str, option: Any) -> str:
    """Return the values that an option may have, "" for any."""
    long = option.opts[-1]
    return _FORMATS.get(name, "") if long == "--format" else _CHOICES.get(long, "")


def _summary(command: Any) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())


def _bash(program: str, commands: Mapping[str, Any]) -> Iterator[str]:
    function = f"_{program.replace('-', '_')}"
    yield f"{function}() {{"
    yield '  local cur="${COMP_WORDS[COMP_CWORD]}" prev="" command="" flags="" word'
    yield '  [ "$COMP_CWORD" -gt 0 ] && prev="${COMP_WORDS[COMP_CWORD-1]}"'
    yield "  COMPREPLY=()"
    yield '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do'
    yield f'    case "$word" in {"|".join(commands)}|help) command="$word"; break;; esac'
    yield "  done"
    yield '  case "$command $prev" in'
    yield f'    *" {LOG_FORMAT}") COMPREPLY=($(compgen -W "{" ".join(LOG_FORMATS)}" -- "$cur")); return;;'
    for name, command in commands.items():
        for option in _options(command):
            if not option.is_flag:
                pattern = "|".join(f'"{name} {spelling}"' for spelling in _spellings(option))
                values = _values(name, option)
                found = f'COMPREPLY=($(compgen -W "{values}" -- "$cur"))' if values else ":"
                # Without an answer, the shell completes names of files.
                yield f"    {pattern}) {found}; return;;"
    yield "  esac"
    yield '  case "$command" in'
    yield f'    ""|help) flags="{" ".join(commands)} help";;'
    for name, command in commands.items():
        flags = " ".join(spelling for option in _options(command) for spelling in _spellings(option))
        yield f'    {name}) flags="{flags}"; [[ "$cur" == -* ]] || return;;'
    yield "  esac"
    yield f'  COMPREPLY=($(compgen -W "$flags {" ".join(GLOBAL_FLAGS)} {LOG_FORMAT} --help" -- "$cur"))'
    yield "}"
    yield f"complete -o default -F {function} {program}"


def _zsh(program: str, commands: Mapping[str, Any]) -> Iterator[str]:
    yield f"#compdef {program}"
    yield f"_{program}() {{"
    yield "  local line state"
    yield "  local -a globals=("
    for flag, (_, text) in GLOBAL_FLAGS.items():
        yield f"    {_zsh_quoted(f'{flag}[{_zsh_text(text)}]')}"
    values = " ".join(LOG_FORMATS)
    yield f"    {_zsh_quoted(f'{LOG_FORMAT}[{_zsh_text(LOG_FORMAT_HELP)}]:value:({values})')}"
    yield "    '(-h --help)'{-h,--help}'[Show the help and exit.]'"
    yield "  )"
    yield f"  _arguments -C $globals '1: :_{program}_commands' '*::argument:->argument'"
    yield '  [[ "$state" == argument ]] || return'
    yield '  case "$line[1]" in'
    for name, command in commands.items():
        yield f"    {name}) _arguments $globals \\"
        for option in _options(command):
            yield f"      {_zsh_option(name, option)} \\"
        yield "      '*:file:_files';;"
    yield f"    help) _{program}_commands;;"
    yield "  esac"
    yield "}"
    yield f"_{program}_commands() {{"
    yield "  local -a commands=("
    for name, command in commands.items():
        yield f"    {_zsh_quoted(f'{name}:{_summary(command)}')}"
    yield "    'help:Show the help of a command.'"
    yield "  )"
    yield "  _describe command commands"
    yield "}"
    yield f'if [ "$funcstack[1]" = "_{program}" ]; then _{program} "$@"; else compdef _{program} {program}; fi'


def _zsh_option(name: str, option: Any) -> str:
    spellings = _spellings(option)
    text = f"[{_zsh_text(option.help or '')}]"
    if not option.is_flag:
        values = _values(name, option)
        text += f":value:({values})" if values else ":value:_files"
    if len(spellings) == 1:
        return f"{spellings[0]}{_zsh_quoted(text)}"
    return f"'({' '.join(spellings)})'{{{','.join(spellings)}}}{_zsh_quoted(text)}"


def _zsh_text(text: str) -> str:
    for letter in "\\[]:":
        text = text.replace(letter, f"\\{letter}")
    return text


def _zsh_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(program: str, commands: Mapping[str, Any]) -> Iterator[str]:
    known = " ".join([*commands, "help"])
    for name, text in [*((name, _summary(command)) for name, command in commands.items()), ("help", "Show the help.")]:
        yield f"complete -c {program} -n 'not __fish_seen_subcommand_from {known}' -f -a {name} -d {_fish_quoted(text)}"
    yield f"complete -c {program} -n '__fish_seen_subcommand_from help' -f -a '{' '.join(commands)}'"
    for flag, (_, text) in GLOBAL_FLAGS.items():
        yield f"complete -c {program} -l {flag[2:]} -d {_fish_quoted(text)}"
    values = " ".join(LOG_FORMATS)
    yield f"complete -c {program} -l {LOG_FORMAT[2:]} -x -a '{values}' -d {_fish_quoted(LOG_FORMAT_HELP)}"
    yield f"complete -c {program} -s h -l help -d 'Show the help and exit.'"
    for name, command in commands.items():
        for option in _options(command):
            words = _fish_words(name, option)
            yield f"complete -c {program} -n '__fish_seen_subcommand_from {name}' {' '.join(words)}"


def _fish_words(name: str, option: Any) -> Sequence[str]:
    words = [f"-l {one[2:]}" if one.startswith("--") else f"-s {one[1:]}" for one in _spellings(option)]
    if not option.is_flag:
        values = _values(name, option)
        words += ["-x", f"-a '{values}'"] if values else ["-r"]
    return [*words, "-d", _fish_quoted(option.help or "")]


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
