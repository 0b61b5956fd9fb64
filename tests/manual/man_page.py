"""The man page, in the macros of man(7)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from exporter.flags import DESCRIPTION, NAME

from .commands import Command, Flag

_INTRODUCTION: Final = (
    "Counts every TCP socket of the host by state, owning process and remote port, compares ports, file "
    "descriptors and queues with their limits, and serves the metrics to Prometheus. It needs no "
    "configuration. It runs as any user; to attribute the sockets of other users to processes, it needs both "
    "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH. SIGHUP reloads the configuration; SIGTERM stops the exporter."
)

_STATUS: Final = {
    "0": "Success, or stopped by a signal. explain: no problems found.",
    "1": "Failure: cannot serve or write; with --once, nothing is readable. explain: problems found.",
    "2": "Invalid flags or configuration. explain: also if the sockets could not be read.",
}

_FILES: Final = {
    "/etc/default/socket-state-exporter": "ARGS, the flags of the systemd service.",
}

_EXAMPLES: Final = (
    f"{NAME} --web.listen-address=127.0.0.1:9999",
    f"sudo {NAME} explain",
    f"{NAME} --once > sockets.prom.new && mv sockets.prom.new sockets.prom",
)


def man_page(commands: Iterable[Command]) -> str:
    """Return the man page, of section 1."""
    itself, *others = commands
    summary = DESCRIPTION.rstrip(".")
    lines = [
        '.\\" written by tests/manual from the flags: make golden',
        f'.TH {_plain(NAME.upper())} 1 "" "{NAME}" "User Commands"',
        ".SH NAME",
        f"{_plain(NAME)} \\- {_plain(summary)}",
        ".SH SYNOPSIS",
        *_synopsis(itself),
        *(line for command in others for line in (".br", *_synopsis(command))),
        ".SH DESCRIPTION",
        _text(_INTRODUCTION),
        ".SH OPTIONS",
        *_flags(itself.flags),
    ]
    for command in others:
        lines += [f".SH {command.word.upper()}", _text(command.description), *_flags(command.flags)]
        lines += [".PP", _text(command.epilog)]
    lines += [".SH EXIT STATUS", *_terms(_STATUS)]
    lines += [".SH FILES", *_terms(_FILES)]
    lines += [".SH EXAMPLES"]
    lines += [line for example in _EXAMPLES for line in (".PP", ".nf", _plain(example), ".fi")]
    lines += [".SH SEE ALSO", ".BR ss (8),", ".BR netstat (8),", ".BR prometheus (1)"]
    return "\n".join(lines) + "\n"


def _synopsis(command: Command) -> Iterator[str]:
    words = [NAME, command.word] if command.word else [NAME]
    yield f".B {_plain(' '.join(words))}"
    arguments = " ".join(f"\\fI{argument.value}\\fR" for argument in command.arguments)
    yield f"[\\fIflags\\fR] {arguments}".rstrip()


def _flags(flags: Iterable[Flag]) -> Iterator[str]:
    for flag in flags:
        value = f" \\fI{flag.value}\\fR" if flag.value else ""
        names = ", ".join(f"\\fB{_plain(name)}\\fR{value}" for name in flag.names) or value.strip()
        yield from (".TP", names, _text(flag.help))


def _terms(terms: dict[str, str]) -> Iterator[str]:
    for term, meaning in terms.items():
        yield from (".TP", f".B {_plain(term)}", _text(meaning))


def _text(text: str) -> str:
    """Return a paragraph, with text in backticks in bold."""
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fR", _plain(text))


def _plain(text: str) -> str:
    """Return text escaped for roff: hyphens, and a leading dot, which would begin a command."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
