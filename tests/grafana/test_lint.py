"""The rules of grafana/dashboard-linter that apply; each exception with its reason.

Not here: those about Loki, which is not asked. https://github.com/grafana/dashboard-linter/blob/main/docs/index.md
"""

from __future__ import annotations

import re
from typing import Final

import pytest

from .. import promql
from ..deploy.rules import problems
from .boards import BOARDS, Question, each_board, panels, questions, readable, variables

UNITS: Final = {"short", "percentunit", "s", "bytes", "cps", "dateTimeFromNow", "string"}
"""Of Grafana's units those that are used. https://github.com/grafana/grafana: valueFormats/categories.ts"""

NO_TARGET: Final = {
    "socket:threshold:": "a constant, the same for all hosts",
    "ALERTS_FOR_STATE": "joined with ALERTS, which has the matchers",
}
"""Beginning of a name -> why the series needs no matchers for job and instance."""

MATCHED: Final = {"job": {"$job", "$job|"}, "instance": {"$instance", "$instance|"}}
"""Label -> what it may be matched with. `|`: an alert about no host has no such label."""

each_question = pytest.mark.parametrize(
    "asked", list(questions()), ids=lambda asked: f"{asked.board}-{asked.panel}-{asked.number}"
)


@each_board
def test_template_datasource(name: str) -> None:
    variable = variables(BOARDS[name])["datasource"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    assert variable["label"] == "Data Source"
    assert [one["type"] for one in BOARDS[name]["templating"]["list"]].count("datasource") == 1


@each_board
@pytest.mark.parametrize("target", ["job", "instance"])
def test_template_job_and_instance(name: str, target: str) -> None:
    variable = variables(BOARDS[name])[target]
    assert variable["type"] == "query"
    assert variable["label"] == target
    assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")


@each_board
def test_template_label_promql_and_reload_when_the_time_changes(name: str) -> None:
    for variable in variables(BOARDS[name]).values():
        if variable["type"] == "query":
            selection = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            assert selection
            assert problems(promql.without_variables(selection[1])) == []
            assert selection[2] == variable["name"]
            assert variable["refresh"] == 2


@each_board
def test_panel_datasource(name: str) -> None:
    for panel in panels(BOARDS[name]):
        for one in (panel, *panel.get("targets", ())):
            assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@each_board
def test_panel_title_and_description(name: str) -> None:
    titles = [panel["title"] for panel in panels(BOARDS[name])]
    assert all(titles)
    assert len(set(titles)) == len(titles)
    for panel in panels(BOARDS[name]):
        assert re.fullmatch(r"\S.*[.]", panel["description"]), panel["title"]


@each_board
def test_panel_units(name: str) -> None:
    for panel in panels(BOARDS[name]):
        if panel["type"] != "text":
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        for override in panel.get("fieldConfig", {}).get("overrides", ()):
            assert {one["value"] for one in override["properties"] if one["id"] == "unit"} <= UNITS


@each_board
def test_panel_no_targets(name: str) -> None:
    for panel in panels(BOARDS[name]):
        assert panel["type"] == "text" or panel["targets"]
        numbers = [target["refId"] for target in panel.get("targets", ())]
        assert numbers == [chr(ord("A") + place) for place in range(len(numbers))]


@each_question
def test_target_promql(asked: Question) -> None:
    """That Prometheus reads it is seen in tests/end_to_end; here, that it asks for what there is."""
    assert problems(promql.without_variables(asked.expression)) == []


@each_question
def test_target_rate_interval(asked: Question) -> None:
    """A fixed range is for what is longer than a step of the picture on purpose."""
    for function, span in re.findall(r"\b(\w+)\([^()]*\[([^\]:]+)\]", asked.expression):
        if function in {"rate", "irate", "increase"}:
            assert span == "$__rate_interval"
        else:
            assert (function, span) in {
                ("max_over_time", "$__range"),
                ("last_over_time", "1d"),
                ("delta", "30m"),
            }


@each_question
def test_target_job_and_instance(asked: Question) -> None:
    for selector in promql.read(readable(asked.expression)).selectors:
        if selector.name.startswith(tuple(NO_TARGET)):
            continue
        # A variable with one value is put in as it is, one with several as a regular expression.
        assert ("process", "=~", "$process") not in selector.matchers
        matched = {label: value for label, operator, value in selector.matchers if operator == "=~"}
        for label, values in MATCHED.items():
            assert matched[label] in values, selector


@each_question
def test_target_counter_aggregation(asked: Question) -> None:
    for counter in re.finditer(r"\w+_total\b", asked.expression):
        assert asked.expression[: counter.start()].endswith(("rate(", "increase("))


@each_board
def test_uneditable_dashboard(name: str) -> None:
    assert BOARDS[name]["editable"] is False
