"""The series, labels and numbers in a PromQL expression.

promql-parser parses it, which accepts the syntax of Prometheus 2.45; promtool checks older versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import promql_parser

MAKES_LABEL: Final = {"label_replace": 1, "label_join": 1}
"""Functions that write a label -> index of the argument that names it."""

NAMES_LABELS: Final = {"label_replace": (1, 3), "label_join": (1, 3, 4, 5, 6)}
"""Functions that name labels in strings -> indexes of these arguments."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A series selector: `name{label="value"}`."""

    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()
    """(label, operator, value) of each matcher."""

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(label for label, _, _ in self.matchers)


@dataclass(slots=True)
class Query:
    """The contents of an expression."""

    selectors: list[Selector] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    """Labels that it names outside of selectors: by, without, on, ignoring, group_left and so on."""
    written_labels: set[str] = field(default_factory=set)
    """Labels that it writes: label_replace, label_join, count_values."""
    numbers: list[float] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)

    @property
    def names(self) -> set[str]:
        """Return the names of all series that it selects."""
        return {selector.name for selector in self.selectors}


def parse(expression: str) -> Query:
    """Parse the expression. Raises ValueError if it is invalid."""
    query = Query()
    promql_parser.walk(promql_parser.parse(expression), pre_visit=lambda node: _visit(node, query))
    return query


def without_variables(expression: str) -> str:
    """Return the expression of a Grafana panel with a value for each variable, so that it can be parsed."""
    expression = re.sub(
        r"\$__(?:rate_interval|interval|range)\b|\$\{__(?:rate_interval|interval|range)\}", "5m", expression
    )
    # `$1` is not a variable but a group of label_replace().
    return re.sub(r"\$\{\w+(?::\w+)?\}|\$[a-zA-Z_]\w*", "1", expression)


def _visit(node: Any, query: Query) -> None:
    match node:
        case promql_parser.VectorSelector():
            query.selectors.append(_selector(node))
        case promql_parser.NumberLiteral():
            query.numbers.append(node.val)
        case promql_parser.AggregateExpr():
            _visit_aggregation(node, query)
        case promql_parser.BinaryExpr():
            _visit_binary(node, query)
        case promql_parser.Call():
            _visit_call(node, query)


def _selector(node: promql_parser.VectorSelector) -> Selector:
    matchers = [(matcher.name, _operator(matcher), matcher.value) for matcher in node.matchers.matchers]
    named = [value for label, operator, value in matchers if (label, operator) == ("__name__", "=")]
    return Selector(
        node.name or "".join(named), tuple(matcher for matcher in matchers if matcher[0] != "__name__")
    )


def _operator(matcher: promql_parser.Matcher) -> str:
    # Values of MatchOp cannot be hashed.
    op = promql_parser.MatchOp
    texts = ((op.Equal, "="), (op.NotEqual, "!="), (op.Re, "=~"), (op.NotRe, "!~"))
    return next(text for value, text in texts if matcher.op == value)


def _visit_aggregation(node: promql_parser.AggregateExpr, query: Query) -> None:
    query.functions.add(str(node.op))
    if node.modifier:
        query.labels.update(node.modifier.labels)
    if isinstance(node.param, promql_parser.StringLiteral):
        query.written_labels.add(node.param.val)


def _visit_binary(node: promql_parser.BinaryExpr, query: Query) -> None:
    if node.modifier and node.modifier.matching:
        query.labels.update(node.modifier.matching.labels)
    if node.modifier:
        query.labels.update(node.modifier.group_labels or ())


def _visit_call(node: promql_parser.Call, query: Query) -> None:
    name = node.func.name
    query.functions.add(name)
    strings = {
        index: argument.val
        for index, argument in enumerate(node.args)
        if isinstance(argument, promql_parser.StringLiteral)
    }
    query.labels.update(strings[index] for index in NAMES_LABELS.get(name, ()) if strings.get(index))
    query.written_labels.update(strings[index] for index in (MAKES_LABEL.get(name),) if index in strings)


def expressions_in_template(text: str) -> Iterator[str]:
    """Yield the expressions that a Prometheus template queries, with a value for each `%q` and `%s`."""
    for formatted in re.findall(r"printf\s+`([^`]*)`[^{}]*?\|\s*query", text):
        yield formatted.replace("%q", '"x"').replace("%s", "x")
    yield from re.findall(r'query\s+"([^"]*)"', text)
    yield from re.findall(r"query\s+`([^`]*)`", text)
