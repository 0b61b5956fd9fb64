"""What the shells complete: flags, their choices, files and directories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from exporter.flags import NAME

from .commands import Command, Flag

_WRITTEN: Final = "# written by tests/manual from the flags: make golden"
_FILES: Final = "FILE"
_DIRECTORIES: Final = "DIR"


def bash(commands: Iterable[Command]) -> str:
    """For bash, with or without the package bash-completion."""
    itself, *others = commands
    words = [command.word for command in others]
    cases = "\n".join(
        f"    {command.word}) flags={_quoted(_names(command))}{_bash_argument(command)} ;;"
        for command in others
    )
    values = "\n".join(_bash_values([itself, *others]))
    return f"""{_WRITTEN}
_socket_state_exporter() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} flags argument=
  # bash parts --flag=value at the equals sign.
  if [[ $word == = ]]; then
    word=
  elif [[ $before == = ]]; then
    before=${{COMP_WORDS[COMP_CWORD - 2]}}
  fi
  COMPREPLY=()
  case $before in
{values}
  esac
  case ${{COMP_WORDS[1]}} in
{cases}
    *)
      flags={_quoted(_names(itself))}
      [[ $COMP_CWORD -gt 1 ]] || flags+={_quoted(["", *words])}
      ;;
  esac
  if [[ $argument == {_DIRECTORIES} && $word != -* ]]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -d -- "$word")
  else
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$word")
  fi
}}
complete -F _socket_state_exporter {NAME}
"""


def _bash_argument(command: Command) -> str:
    return "".join(f" argument={argument.value}" for argument in command.arguments)


def _bash_values(commands: Iterable[Command]) -> Iterator[str]:
    """A case for each set of flags that take the same."""
    taking: dict[str, list[str]] = {}
    for command in commands:
        for flag in command.options:
            if flag.value:
                names = taking.setdefault(_bash_value(flag), [])
                names += [name for name in flag.names if name not in names]
    for code, names in taking.items():
        yield f"    {' | '.join(names)})"
        yield from (f"      {line}" for line in code.splitlines())
        yield "      return"
        yield "      ;;"


def _bash_value(flag: Flag) -> str:
    if flag.choices:
        return f'mapfile -t COMPREPLY < <(compgen -W {_quoted(flag.choices)} -- "$word")'
    if flag.value in (_FILES, _DIRECTORIES):
        kind = "-f" if flag.value == _FILES else "-d"
        return f'compopt -o filenames\nmapfile -t COMPREPLY < <(compgen {kind} -- "$word")'
    return ""


def _names(command: Command) -> list[str]:
    return [name for flag in command.options for name in flag.names]


def zsh(commands: Iterable[Command]) -> str:
    """For zsh: a file on its fpath."""
    itself, *others = commands
    cases = "\n".join(f"  {command.word})\n{_zsh_flags(command, shift=True)}\n    ;;" for command in others)
    words = " ".join(command.word for command in others)
    return f"""#compdef {NAME}
{_WRITTEN}
local first=$words[2]
case $first in
{cases}
  *)
    (( CURRENT > 2 )) || compadd -- {words}
{_zsh_flags(itself, shift=False)}
    ;;
esac
"""


def _zsh_flags(command: Command, *, shift: bool) -> str:
    specs = [f"'{_zsh_spec(name, flag)}'" for flag in command.options for name in flag.names]
    specs += [f"':{argument.value}:{_zsh_value(argument)}'" for argument in command.arguments]
    lines = [*(["shift words", "(( CURRENT-- ))"] if shift else []), "_arguments \\"]
    return "\n".join(
        f"    {line}" for line in [*lines, *(f"  {spec} \\" for spec in specs[:-1]), f"  {specs[-1]}"]
    )


def _zsh_spec(name: str, flag: Flag) -> str:
    meaning = flag.help.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]")
    if not flag.value:
        return f"{name}[{meaning}]"
    return f"{'*' if flag.repeats else ''}{name}=[{meaning}]:{flag.value}:{_zsh_value(flag)}"


def _zsh_value(flag: Flag) -> str:
    if flag.choices:
        return f"({' '.join(flag.choices)})"
    return {_FILES: "_files", _DIRECTORIES: "_files -/"}.get(flag.value or "", "")


def fish(commands: Iterable[Command]) -> str:
    """For fish."""
    itself, *others = commands
    words = " ".join(command.word for command in others)
    lines = [_WRITTEN, f"complete -c {NAME} -f"]
    lines += [f"complete -c {NAME} -n '__fish_is_first_arg' -a {command.word}" for command in others]
    for command in (itself, *others):
        condition = f"__fish_seen_subcommand_from {command.word or words}"
        condition = condition if command.word else f"not {condition}"
        lines += [f"complete -c {NAME} -n '{condition}' {part}" for part in _fish_parts(command)]
    return "\n".join(lines) + "\n"


def _fish_parts(command: Command) -> Iterator[str]:
    for flag in command.options:
        for name in flag.names:
            spelled = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            meaning = flag.help.replace("\\", "\\\\").replace("'", "\\'")
            yield f"{spelled}{_fish_value(flag)} -d '{meaning}'"
    for argument in command.arguments:
        if argument.value == _DIRECTORIES:
            yield "-a '(__fish_complete_directories)'"


def _fish_value(flag: Flag) -> str:
    if not flag.value:
        return ""
    if flag.choices:
        return f" -x -a '{' '.join(flag.choices)}'"
    return {_FILES: " -r -F", _DIRECTORIES: " -x -a '(__fish_complete_directories)'"}.get(flag.value, " -x")


def _quoted(words: Iterable[str]) -> str:
    return f'"{" ".join(words)}"'
