"""Names of processes by process-exporter's `process_names` rules, so that its files work here too.

The first matching rule names the process. Selectors and templates have process-exporter's meaning, except
where that looks like an accident:

- Every path of an `exe` list counts; in process-exporter only the last one of those with the same basename.
- `{{.Matches}}` prints named groups only.
- A group that no pattern has is an error at startup; in process-exporter it prints `<no value>`.

`{{.Unit}}`, `{{.Container}}` and, on Windows, `{{.Service}}` exist only here.

A process whose name is `other` or `unknown` is counted together with the sockets that are aggregated into
`other` or have no known owner; every sum stays correct.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from ..model.process import UNKNOWN_PROCESS, Process, ProcessId
from .go_regex import GoRegex, PatternError, encode_text, replace_surrogates

MAX_NAME_LENGTH: Final = 200
"""Maximum number of characters of a name."""

_DEFAULT_TEMPLATE: Final = "{{.ExeBase}}"
_SHORT_CONTAINER_ID: Final = 12
_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]")
_BLANKS: Final = " \t\r\n"
_ACTION: Final = re.compile(
    rf"""\{{\{{ (?P<trim_before>-(?=[{_BLANKS}]))? [{_BLANKS}]*
         \.(?P<field>\w+) (?:\.(?P<group>\w+))? [{_BLANKS}]*
         (?P<trim_after>(?<=[{_BLANKS}])-)? \}}\}} (?(trim_after)[{_BLANKS}]*)""",
    re.VERBOSE,
)

Groups = Mapping[str, str]
"""Text captured by a rule's patterns, by group name; empty where an optional group did not match."""
TemplatePart = Callable[[Process, Groups], str]
"""Function for one part of a name template: returns its text for a process."""


class NameRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Item of `process_names`, as in the file. Every given selector must match; None means not given."""

    name: str = ""
    """Template of the name; empty means `{{.ExeBase}}`."""
    comm: tuple[str, ...] | None = None
    """The comm of the process is one of these."""
    exe: tuple[str, ...] | None = None
    """argv[0] is one of these, or its basename is one of those without a slash."""
    cmdline: tuple[str, ...] | None = None
    """All of these regular expressions (Go's syntax) match somewhere in the arguments joined by spaces."""


class RuleError(ValueError):
    """Invalid rule. path: its place in the list of rules, such as `[2].cmdline[0]`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


@dataclass(frozen=True, slots=True)
class _Rule:
    """Compiled rule."""

    comm: frozenset[str] | None
    exe: frozenset[str] | None
    patterns: tuple[GoRegex, ...]
    template: tuple[TemplatePart, ...]

    def name(self, process: Process, command_line: bytes) -> str | None:
        """Return the name of the process by this rule, or None if the rule does not match.

        command_line: encoded for GoRegex.
        """
        if self.comm is not None and process.comm not in self.comm:
            return None
        if self.exe is not None and self.exe.isdisjoint(_exe_names(process)):
            return None
        groups: dict[str, str] = {}
        for pattern in self.patterns:
            captured = pattern.search(command_line)
            if captured is None:
                return None
            groups |= captured
        return "".join(part(process, groups) for part in self.template)


@dataclass(frozen=True, slots=True)
class Namer:
    """Names processes by rules; without rules, by comm. Built by `compile_rules`."""

    _rules: tuple[_Rule, ...] = ()
    warnings: tuple[str, ...] = ()
    """Rules that are valid but unwise, as `PATH: PROBLEM`, with the path in the list of rules."""

    @property
    def needs_details(self) -> bool:
        """Whether names depend on more attributes of a process than its comm."""
        return bool(self._rules)

    def name(self, process: Process) -> str:
        """Return the value of the `process` label: valid UTF-8 of 1 to MAX_NAME_LENGTH characters.

        It is the name by the first matching rule; without one comm (process-exporter leaves such a process
        out); without a comm `unknown`.
        """
        return _sanitize(self._first_matching_name(process)) or _sanitize(process.comm) or UNKNOWN_PROCESS

    def _first_matching_name(self, process: Process) -> str:
        command_line = encode_text(" ".join(process.cmdline))
        names = (rule.name(process, command_line) for rule in self._rules)
        return next((name for name in names if name is not None), "")


class NameCache:
    """Cache of process names: a name is made again only when an attribute of its process changes.

    Making a name takes up to 11 ms a pattern for 128 KiB of arguments (procfs.process_reader limits them to
    that size), looking it up less than 1 us.
    """

    def __init__(self, namer: Namer) -> None:
        self._namer = namer
        self._names: dict[ProcessId, tuple[Process, str]] = {}

    def name(self, owner: ProcessId, process: Process) -> str:
        """Return the name of a process.

        process: its attributes; the same object as in the previous call if none of them has changed.
        """
        named_process, name = self._names.get(owner, (None, ""))
        if named_process is not process:
            name = self._namer.name(process)
            self._names[owner] = process, name
        return name

    def retain(self, is_used: Callable[[ProcessId], bool]) -> None:
        """Drop the names of processes that are not used."""
        self._names = {owner: known for owner, known in self._names.items() if is_used(owner)}


def compile_rules(rules: Sequence[NameRule]) -> Namer:
    """Return the namer for `rules`. Raises RuleError for the first invalid rule."""
    compiled = tuple(_compile_rule(rule, f"[{number}]") for number, rule in enumerate(rules))
    return Namer(compiled, tuple(_find_warnings(rules)))


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


def _compile_pattern(pattern: str, path: str) -> GoRegex:
    try:
        return GoRegex(pattern)
    except PatternError as error:
        raise RuleError(path, str(error)) from None


def _compile_template(template: str, patterns: Sequence[GoRegex], path: str) -> tuple[TemplatePart, ...]:
    groups = {group for pattern in patterns for group in pattern.group_names}
    parts: list[TemplatePart] = []
    position = 0
    while (start := template.find("{{", position)) >= 0:
        action = _ACTION.match(template, start)
        if action is None:
            raise RuleError(path, _template_error(template, start))
        text = template[position:start]
        parts += (
            _literal_part(text.rstrip(_BLANKS) if action["trim_before"] else text),
            _field_part(action, groups, path),
        )
        position = action.end()
    return (*parts, _literal_part(template[position:]))


def _template_error(template: str, offset: int) -> str:
    end = template.find("}}", offset)
    if end < 0:
        return f"unclosed {{{{ at position {offset}"
    return f"{template[offset : end + 2]} at position {offset}: only fields such as {{{{.Comm}}}} can be used"


def _literal_part(text: str) -> TemplatePart:
    return lambda _process, _groups: text


def _field_part(action: re.Match[str], known_groups: set[str], path: str) -> TemplatePart:
    field, group = action["field"], action["group"]
    place = f"{action[0].rstrip()} at position {action.start()}"
    if field == "Matches" and group in known_groups:
        return lambda _process, groups: groups[group]
    if field == "Matches" and group:
        raise RuleError(path, f"{place}: no cmdline pattern has a group {group}")
    if field == "Matches":
        return lambda _process, groups: _format_go_map(groups)
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
    """Return the same as Go's filepath.Base, but empty for an empty path. Accepts Windows paths as well."""
    if _DRIVE.match(path):
        path = path.replace("\\", "/")
    return path.rstrip("/").rpartition("/")[2] or path[:1]


def _format_go_time(seconds: float) -> str:
    """Return a time, in seconds since the epoch, as Go prints it; empty if it has no date."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OSError, OverflowError, ValueError):
        return ""
    fraction = f".{moment.microsecond:06}".rstrip("0").rstrip(".")
    return f"{moment.isoformat(' ')[:19]}{fraction} +0000 UTC"


def _format_go_map(groups: Groups) -> str:
    return f"map[{' '.join(f'{name}:{groups[name]}' for name in sorted(groups))}]"


_FIELDS: Final[Mapping[str, Callable[[Process], str]]] = {
    "Cgroups": lambda process: f"[{' '.join(process.cgroups)}]",
    "Comm": lambda process: process.comm,
    "Container": lambda process: process.container[:_SHORT_CONTAINER_ID],
    "Cwd": lambda process: process.cwd,
    "ExeBase": _exe_base,
    "ExeFull": _exe_full,
    "PID": lambda process: str(process.pid),
    "Service": lambda process: "+".join(process.services),
    "StartTime": lambda process: _format_go_time(process.started_at),
    "Unit": lambda process: process.unit,
    "Username": lambda process: process.username,
}
_UNIQUE_FIELDS: Final = ("PID", "StartTime")


def _find_warnings(rules: Sequence[NameRule]) -> Iterator[str]:
    for number, rule in enumerate(rules):
        fields = {action["field"] for action in _ACTION.finditer(rule.name)}
        for field in sorted(fields.intersection(_UNIQUE_FIELDS)):
            yield f"[{number}].name: {{{{.{field}}}}} gives every process a name, and so series, of its own"


def _sanitize(name: str) -> str:
    return replace_surrogates(name[:MAX_NAME_LENGTH])
