"""Which name a process gets: process-exporter's `process_names` rules, so that its files serve here too.

The first rule that fits names the process, with process-exporter's meaning of selectors and templates
except where that looks like an accident: every path of an `exe` list counts (there the last of those
with one basename does), `{{.Matches}}` prints named groups only, and a group that no pattern has is an
error at start rather than `<no value>`. `{{.Unit}}` and `{{.Container}}` are ours.

Nothing here keeps apart a process that is really called `other` or `unknown`: it is counted together
with what was folded or has no known owner, and every sum stays right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from ..model.process import Process
from .patterns import PatternError, compile_pattern

UNKNOWN: Final = "unknown"
"""The name of a process of which nothing could be read."""
MAX_NAME_LENGTH: Final = 200
MAX_COMMAND_LINE: Final = 4096
"""Patterns see this many characters of a command line, no more: a process may have megabytes of
arguments, and Python's matching takes quadratic time and worse (see patterns)."""

_DEFAULT_TEMPLATE: Final = "{{.ExeBase}}"
_SHORT_CONTAINER_ID: Final = 12
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]")
_BLANKS: Final = " \t\r\n"
_ACTION: Final = re.compile(
    rf"""\{{\{{ (?P<trim_before>-(?=[{_BLANKS}]))? [{_BLANKS}]*
         \.(?P<field>\w+) (?:\.(?P<group>\w+))? [{_BLANKS}]*
         (?P<trim_after>(?<=[{_BLANKS}])-)? \}}\}} (?(trim_after)[{_BLANKS}]*)""",
    re.VERBOSE,
)

Groups = Mapping[str, str]
"""What a rule's patterns captured, by the name of the group; empty where an optional group did not match."""
Piece = Callable[[Process, Groups], str]
"""A part of a name template: gives its text for one process."""


class NameRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One item of `process_names`, as written. Every selector given must fit; None is not given."""

    name: str = ""
    """Template of the name; empty stands for `{{.ExeBase}}`."""
    comm: tuple[str, ...] | None = None
    """One of these is the process' comm."""
    exe: tuple[str, ...] | None = None
    """One of these is argv[0], or, written without a slash, its basename."""
    cmdline: tuple[str, ...] | None = None
    """All of these regular expressions (Go's syntax) match somewhere in the arguments joined by blanks."""


class RuleError(ValueError):
    """A rule that cannot be used: where, as `[2].cmdline[0]` in the list of rules, and why."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


@dataclass(frozen=True, slots=True)
class _Rule:
    comm: frozenset[str] | None
    exe: frozenset[str] | None
    patterns: tuple[re.Pattern[str], ...]
    template: tuple[Piece, ...]

    def name(self, process: Process, command_line: str) -> str | None:
        """The process' name by this rule; None when the rule does not fit."""
        if self.comm is not None and process.comm not in self.comm:
            return None
        if self.exe is not None and self.exe.isdisjoint(_exe_names(process)):
            return None
        groups: dict[str, str] = {}
        for pattern in self.patterns:
            found = pattern.search(command_line)
            if found is None:
                return None
            groups |= found.groupdict(default="")
        return "".join(piece(process, groups) for piece in self.template)


@dataclass(frozen=True, slots=True)
class Namer:
    """Names processes by rules; without rules, by comm. Made by `compile_rules`."""

    _rules: tuple[_Rule, ...] = ()
    warnings: tuple[str, ...] = ()
    """What the rules say that works but is unwise, each beginning with its path in the list of rules."""

    @property
    def needs_details(self) -> bool:
        """Whether names depend on more of a process than its comm."""
        return bool(self._rules)

    def name(self, process: Process) -> str:
        """The name for the `process` label: never empty, valid UTF-8, at most MAX_NAME_LENGTH long.

        That of the first rule that fits, else comm (process-exporter leaves such a process out),
        else `unknown`.
        """
        return _label(self._ruled(process)) or _label(process.comm) or UNKNOWN

    def _ruled(self, process: Process) -> str:
        command_line = " ".join(process.cmdline)[:MAX_COMMAND_LINE]
        names = (rule.name(process, command_line) for rule in self._rules)
        return next((name for name in names if name is not None), "")


def compile_rules(rules: Sequence[NameRule]) -> Namer:
    """The namer that follows `rules`. Raises RuleError for the first rule that it cannot follow."""
    compiled = tuple(_compile_rule(rule, f"[{number}]") for number, rule in enumerate(rules))
    return Namer(compiled, tuple(_warnings(rules)))


def _compile_rule(rule: NameRule, path: str) -> _Rule:
    if rule.comm is None and rule.exe is None and rule.cmdline is None:
        raise RuleError(path, "no selector, give comm, exe or cmdline")
    patterns = tuple(
        _compile_pattern(pattern, f"{path}.cmdline[{number}]")
        for number, pattern in enumerate(rule.cmdline or ())
    )
    return _Rule(
        comm=None if rule.comm is None else frozenset(rule.comm),
        exe=None if rule.exe is None else frozenset(rule.exe),
        patterns=patterns,
        template=_compile_template(rule.name or _DEFAULT_TEMPLATE, patterns, f"{path}.name"),
    )


def _compile_pattern(pattern: str, path: str) -> re.Pattern[str]:
    try:
        return compile_pattern(pattern)
    except PatternError as error:
        raise RuleError(path, str(error)) from None


def _compile_template(template: str, patterns: Sequence[re.Pattern[str]], path: str) -> tuple[Piece, ...]:
    groups = {group for pattern in patterns for group in pattern.groupindex}
    pieces: list[Piece] = []
    at = 0
    while (start := template.find("{{", at)) >= 0:
        action = _ACTION.match(template, start)
        if action is None:
            raise RuleError(path, _why_no_action(template, start))
        text = template[at:start]
        pieces += _text(text.rstrip(_BLANKS) if action["trim_before"] else text), _field(action, groups, path)
        at = action.end()
    return (*pieces, _text(template[at:]))


def _why_no_action(template: str, start: int) -> str:
    end = template.find("}}", start)
    if end < 0:
        return f"unclosed {{{{ at position {start}"
    return f"{template[start : end + 2]} at position {start}: only fields such as {{{{.Comm}}}} can be used"


def _text(text: str) -> Piece:
    return lambda _process, _groups: text


def _field(action: re.Match[str], known_groups: set[str], path: str) -> Piece:
    field, group = action["field"], action["group"]
    place = f"{action[0].rstrip()} at position {action.start()}"
    if field == "Matches" and group in known_groups:
        return lambda _process, groups: groups[group]
    if field == "Matches" and group:
        raise RuleError(path, f"{place}: no cmdline pattern has a group {group}")
    if field == "Matches":
        return lambda _process, groups: _go_map(groups)
    if group or field not in _FIELDS:
        known = " ".join(f".{name}" for name in sorted({*_FIELDS, "Matches"}))
        raise RuleError(path, f"{place}: unknown field (known: {known})")
    read = _FIELDS[field]
    return lambda process, _groups: read(process)


def _exe_full(process: Process) -> str:
    return _argv0(process) or process.comm


def _exe_base(process: Process) -> str:
    return _base_name(_argv0(process)) or process.comm


def _exe_names(process: Process) -> set[str]:
    return {_argv0(process), _base_name(_argv0(process))} - {""}


def _argv0(process: Process) -> str:
    return process.cmdline[0] if process.cmdline else ""


def _base_name(path: str) -> str:
    """As Go's filepath.Base, and for Windows' paths too; empty for an empty path."""
    if _DRIVE.match(path):
        path = path.replace("\\", "/")
    return path.rstrip("/").rpartition("/")[2] or path[:1]


def _go_time(seconds: float) -> str:
    """As Go prints a time."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OSError, OverflowError, ValueError):
        return ""
    fraction = f".{moment.microsecond:06}".rstrip("0").rstrip(".")
    return f"{moment.isoformat(' ')[:19]}{fraction} +0000 UTC"


def _go_map(groups: Groups) -> str:
    return f"map[{' '.join(f'{name}:{groups[name]}' for name in sorted(groups))}]"


_FIELDS: Final[Mapping[str, Callable[[Process], str]]] = {
    "Cgroups": lambda process: f"[{' '.join(process.cgroups)}]",
    "Comm": lambda process: process.comm,
    "Container": lambda process: process.container[:_SHORT_CONTAINER_ID],
    "Cwd": lambda process: process.cwd,
    "ExeBase": _exe_base,
    "ExeFull": _exe_full,
    "PID": lambda process: str(process.pid),
    "StartTime": lambda process: _go_time(process.started_at),
    "Unit": lambda process: process.unit,
    "Username": lambda process: process.username,
}
_ONE_PER_PROCESS: Final = ("PID", "StartTime")


def _warnings(rules: Sequence[NameRule]) -> Iterator[str]:
    for number, rule in enumerate(rules):
        fields = {action["field"] for action in _ACTION.finditer(rule.name)}
        for field in sorted(fields.intersection(_ONE_PER_PROCESS)):
            yield f"[{number}].name: {{{{.{field}}}}} gives every process a name, and so series, of its own"


def _label(text: str) -> str:
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text[:MAX_NAME_LENGTH])
