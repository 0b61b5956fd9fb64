"""The commands and their flags, for the man page and the completions.

Argparse's own help differs from one Python version to the next.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Final

from exporter import flags


@dataclass(frozen=True)
class Flag:
    """A flag, or an argument without a name."""

    names: tuple[str, ...]
    """Empty for an argument without a name."""
    help: str
    value: str | None
    """Name of the value, such as FILE; None for a flag without a value."""
    choices: tuple[str, ...]
    repeats: bool


@dataclass(frozen=True)
class Command:
    """The exporter itself, or a subcommand."""

    word: str
    """Empty for the exporter itself."""
    description: str
    epilog: str
    flags: tuple[Flag, ...]

    @property
    def options(self) -> tuple[Flag, ...]:
        return tuple(flag for flag in self.flags if flag.names)

    @property
    def arguments(self) -> tuple[Flag, ...]:
        return tuple(flag for flag in self.flags if not flag.names)


def commands() -> tuple[Command, ...]:
    """Return the commands, the exporter itself first."""
    return (
        _command("", flags.build_parser()),
        _command(flags.EXPLAIN, flags.build_explain_parser()),
        _command(flags.ASSETS, flags.build_assets_parser()),
        _command(flags.SERVICE, flags.build_service_parser()),
    )


def _command(word: str, parser: argparse.ArgumentParser) -> Command:
    actions = parser._actions  # noqa: SLF001  # argparse has no public way to list them
    return Command(word, parser.description or "", parser.epilog or "", tuple(map(_flag, actions)))


def _flag(action: argparse.Action) -> Flag:
    takes = action.nargs != 0
    return Flag(
        names=tuple(action.option_strings),
        help=_HELP if action.dest == "help" else str(action.help),
        value=str(action.metavar or action.dest.upper()) if takes else None,
        choices=tuple(map(str, action.choices or ())) if takes else (),
        repeats=isinstance(action, argparse._AppendAction),  # noqa: SLF001  # nor a public name for this
    )


_HELP: Final = "show this help and exit"
