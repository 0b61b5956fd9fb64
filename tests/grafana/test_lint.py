"""The applicable rules of grafana/dashboard-linter, with the reason for each exception.

The rules about Loki do not apply. https://github.com/grafana/dashboard-linter/blob/main/docs/index.md
"""

from __future__ import annotations

import re
from typing import Final

import pytest

from .. import promql
from ..deploy.rules import problems
from .dashboards import (
    DASHBOARDS,
    PanelQuery,
    each_dashboard,
    panel_queries,
    panels,
    substitute_spans,
    variables,
)

UNITS: Final = {"short", "percentunit", "s", "bytes", "cps", "dateTimeFromNow", "string"}
"""The units in use, of https://github.com/grafana/grafana: valueFormats/categories.ts"""

NO_TARGET: Final = {
    "socket:threshold:": "a constant, the same for all hosts",
    "ALERTS_FOR_STATE": "joined with ALERTS, which has the matchers",
    "windows_": "of windows_exporter, joined by host with a series that has the matchers",
}
"""Prefix of a series name -> why it needs no matchers for job and instance."""

MATCHED: Final = {"job": {"$job", "$job|"}, "instance": {"$instance", "$instance|"}}
"""Label -> accepted matchers. `|` also matches alerts without the label, which are not about a host."""

each_query = pytest.mark.parametrize(
    "query", list(panel_queries()), ids=lambda query: f"{query.dashboard}-{query.panel}-{query.ref_id}"
)


@each_dashboard
def test_template_datasource(name: str) -> None:
    variable = variables(DASHBOARDS[name])["datasource"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    assert variable["label"] == "Data Source"
    assert [one["type"] for one in DASHBOARDS[name]["templating"]["list"]].count("datasource") == 1


@each_dashboard
@pytest.mark.parametrize("target", ["job", "instance"])
def test_template_job_and_instance(name: str, target: str) -> None:
    variable = variables(DASHBOARDS[name])[target]
    assert variable["type"] == "query"
    assert variable["label"] == target
    assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")


@each_dashboard
def test_template_label_promql_and_on_time_change_reload(name: str) -> None:
    for variable in variables(DASHBOARDS[name]).values():
        if variable["type"] == "query":
            selection = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            assert selection
            assert problems(promql.without_variables(selection[1])) == []
            assert selection[2] == variable["name"]
            assert variable["refresh"] == 2


@each_dashboard
def test_panel_datasource(name: str) -> None:
    for panel in panels(DASHBOARDS[name]):
        for one in (panel, *panel.get("targets", ())):
            assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@each_dashboard
def test_panel_title_and_description(name: str) -> None:
    titles = [panel["title"] for panel in panels(DASHBOARDS[name])]
    assert all(titles)
    assert len(set(titles)) == len(titles)
    for panel in panels(DASHBOARDS[name]):
        assert re.fullmatch(r"\S.*[.]", panel["description"]), panel["title"]


@each_dashboard
def test_panel_units(name: str) -> None:
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] != "text":
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        for override in panel.get("fieldConfig", {}).get("overrides", ()):
            assert {one["value"] for one in override["properties"] if one["id"] == "unit"} <= UNITS


@each_dashboard
def test_panel_no_targets(name: str) -> None:
    for panel in panels(DASHBOARDS[name]):
        assert panel["type"] == "text" or panel["targets"]
        ref_ids = [target["refId"] for target in panel.get("targets", ())]
        assert ref_ids == [chr(ord("A") + index) for index in range(len(ref_ids))]


@each_query
def test_target_promql(query: PanelQuery) -> None:
    """Check that series and labels exist; tests/end_to_end runs the queries in Prometheus."""
    assert problems(promql.without_variables(query.expression)) == []


@each_query
def test_target_rate_interval(query: PanelQuery) -> None:
    """Require $__rate_interval, except where the range is longer than a step on purpose."""
    for function, span in re.findall(r"\b(\w+)\([^()]*\[([^\]:]+)\]", query.expression):
        if function in {"rate", "irate", "increase"}:
            assert span == "$__rate_interval"
        else:
            assert (function, span) in {
                ("max_over_time", "$__range"),
                ("last_over_time", "1d"),
                ("delta", "30m"),
            }


@each_query
def test_target_job_and_instance(query: PanelQuery) -> None:
    for selector in promql.parse(substitute_spans(query.expression)).selectors:
        if selector.name.startswith(tuple(NO_TARGET)):
            continue
        # Grafana escapes multi-value variables for regular expressions, but not single-value variables.
        assert ("process", "=~", "$process") not in selector.matchers
        matched = {label: value for label, operator, value in selector.matchers if operator == "=~"}
        for label, values in MATCHED.items():
            assert matched[label] in values, selector


@each_query
def test_target_counter_aggregation(query: PanelQuery) -> None:
    for counter in re.finditer(r"\w+_total\b", query.expression):
        assert query.expression[: counter.start()].endswith(("rate(", "increase("))


@each_dashboard
def test_uneditable_dashboard(name: str) -> None:
    assert DASHBOARDS[name]["editable"] is False
