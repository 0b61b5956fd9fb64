"""What a PromQL expression asks for: the series, labels and numbers in it.

promql-parser reads it, which accepts what Prometheus 2.45 does. Whether an older one does, promtool says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import promql_parser

MAKES_LABEL: Final = {"label_replace": 1, "label_join": 1}
"""Functions that write a label -> which of their arguments names it."""

NAMES_LABELS: Final = {"label_replace": (1, 3), "label_join": (1, 3, 4, 5, 6)}
"""Functions that name labels in strings -> which of their arguments do."""


@dataclass(frozen=True, slots=True)
class Selector:
    """One selection of series: `name{label="value"}`."""

    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()
    """(label, operator, value) of each."""

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(label for label, _, _ in self.matchers)


@dataclass(slots=True)
class Query:
    """What is in an expression."""

    selectors: list[Selector] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    """Labels that it names anywhere but in selectors: by, without, on, ignoring, group_left and so on."""
    made: set[str] = field(default_factory=set)
    """Labels that it makes: label_replace, label_join, count_values."""
    numbers: list[float] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)

    @property
    def names(self) -> set[str]:
        """The names of all series it asks for."""
        return {selector.name for selector in self.selectors}


def read(expression: str) -> Query:
    """What is in the expression. Raises ValueError where it is none."""
    query = Query()
    promql_parser.walk(promql_parser.parse(expression), pre_visit=lambda node: _take(node, query))
    return query


def without_variables(expression: str) -> str:
    """The expression of a Grafana panel with a value for each of its variables, so that it can be read."""
    expression = re.sub(
        r"\$__(?:rate_interval|interval|range)\b|\$\{__(?:rate_interval|interval|range)\}", "5m", expression
    )
    return re.sub(r"\$\{\w+(?::\w+)?\}|\$\w+", "1", expression)


def _take(node: Any, query: Query) -> None:
    match node:
        case promql_parser.VectorSelector():
            query.selectors.append(_selector(node))
        case promql_parser.NumberLiteral():
            query.numbers.append(node.val)
        case promql_parser.AggregateExpr():
            _take_aggregation(node, query)
        case promql_parser.BinaryExpr():
            _take_matching(node, query)
        case promql_parser.Call():
            _take_call(node, query)


def _selector(node: promql_parser.VectorSelector) -> Selector:
    matchers = [(one.name, _operator(one), one.value) for one in node.matchers.matchers]
    named = [value for label, operator, value in matchers if (label, operator) == ("__name__", "=")]
    return Selector(node.name or "".join(named), tuple(one for one in matchers if one[0] != "__name__"))


def _operator(matcher: promql_parser.Matcher) -> str:
    # Its kinds cannot be hashed.
    kinds = promql_parser.MatchOp
    spelled = ((kinds.Equal, "="), (kinds.NotEqual, "!="), (kinds.Re, "=~"), (kinds.NotRe, "!~"))
    return next(operator for kind, operator in spelled if matcher.op == kind)


def _take_aggregation(node: promql_parser.AggregateExpr, query: Query) -> None:
    query.functions.add(str(node.op))
    if node.modifier:
        query.labels.update(node.modifier.labels)
    if isinstance(node.param, promql_parser.StringLiteral):
        query.made.add(node.param.val)


def _take_matching(node: promql_parser.BinaryExpr, query: Query) -> None:
    if node.modifier and node.modifier.matching:
        query.labels.update(node.modifier.matching.labels)
    if node.modifier:
        query.labels.update(node.modifier.group_labels or ())


def _take_call(node: promql_parser.Call, query: Query) -> None:
    name = node.func.name
    query.functions.add(name)
    strings = {
        place: one.val for place, one in enumerate(node.args) if isinstance(one, promql_parser.StringLiteral)
    }
    query.labels.update(strings[place] for place in NAMES_LABELS.get(name, ()) if strings.get(place))
    query.made.update(strings[place] for place in (MAKES_LABEL.get(name),) if place in strings)


def in_template(text: str) -> Iterator[str]:
    """The expressions that a template of Prometheus asks, with a value for each `%q` and `%s`."""
    for formatted in re.findall(r"printf\s+`([^`]*)`[^{}]*?\|\s*query", text):
        yield formatted.replace("%q", '"x"').replace("%s", "x")
    yield from re.findall(r'query\s+"([^"]*)"', text)
    yield from re.findall(r"query\s+`([^`]*)`", text)
