"""What Grafana is provisioned with: data source, dashboards, and alerts as an option."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from .. import promql
from ..deploy.rules import ALERTS, Rule, document, known_series, labels_of, rules
from .boards import BOARDS, GRAFANA, panels

PROVISIONING: Final = GRAFANA / "provisioning"
GROUPS: Final = document(PROVISIONING / "alerting-optional" / "sockets.yml")["groups"]

INTERPOLATED: Final = ("title", "labels", "data", "uid", "condition")
"""Parts of a rule in which Grafana may put environment variables for `$NAME`. In annotations it does not."""

FUNCTIONS: Final = {"humanizePercentage", "humanizeDuration", "printf", "with", "end"}
"""Of templates: those of Grafana's that are used. It has no `query`, which Prometheus has."""


def provisioned() -> list[Rule]:
    return [rule for group in GROUPS for rule in group["rules"]]


def pairs() -> Iterator[tuple[Rule, Rule]]:
    """(alert of Prometheus, that of Grafana), by place."""
    return zip(rules(ALERTS), provisioned(), strict=True)


def test_the_data_source_has_the_uid_and_address_that_others_rely_on() -> None:
    (source,) = document(PROVISIONING / "datasources" / "prometheus.yml")["datasources"]
    assert (source["uid"], source["type"], source["url"]) == ("prometheus", "prometheus", "$PROMETHEUS_URL")


def test_the_boards_are_not_to_be_changed_in_place() -> None:
    (provider,) = document(PROVISIONING / "dashboards" / "sockets.yml")["providers"]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False


def test_grafana_has_the_alerts_of_prometheus_with_all_that_they_wait_for() -> None:
    for theirs, ours in pairs():
        assert ours["title"] == f"{theirs['alert']} ({', '.join(labels_of(theirs).values())})"
        assert ours["data"][0]["model"]["expr"] == theirs["expr"]
        assert ours["for"] == theirs.get("for", "0s")
        assert ours["labels"] == labels_of(theirs)
        assert ours["annotations"]["summary"] == theirs["annotations"]["summary"]
        assert ours["annotations"]["runbook_url"] == theirs["annotations"]["runbook_url"]
    assert [group["name"] for group in GROUPS] == [group["name"] for group in document(ALERTS)["groups"]]


def test_titles_and_uids_are_as_grafana_wants_them() -> None:
    for name in ("title", "uid"):
        values = [rule[name] for rule in provisioned()]
        assert len(set(values)) == len(values)
    assert all(re.fullmatch(r"[\w-]{1,40}", rule["uid"]) for rule in provisioned())


def test_an_alert_fires_for_whatever_its_query_finds_a_zero_too() -> None:
    for rule in provisioned():
        query, fires = rule["data"]
        assert (query["refId"], query["datasourceUid"], query["model"]["instant"]) == (
            "A",
            "prometheus",
            True,
        )
        assert (fires["refId"], fires["datasourceUid"]) == (rule["condition"], "__expr__")
        assert fires["model"]["expression"] == "A"
        (condition,) = fires["model"]["conditions"]
        assert condition["evaluator"] == {"type": "gt", "params": [-1]}
        # Nothing found is no alert, and no error.
        assert rule["noDataState"] == "OK"


def test_nothing_is_taken_for_an_environment_variable() -> None:
    for rule in provisioned():
        assert "$" not in str({part: rule[part] for part in INTERPOLATED})


def test_templates_use_what_grafana_knows() -> None:
    labels = frozenset[str]().union(*known_series().values(), *(promql_made(rule) for rule in rules(ALERTS)))
    for rule in provisioned():
        text = rule["annotations"]["description"]
        for action in re.findall(r"\{\{(.*?)\}\}", text):
            words = re.findall(r"(?<![$.\w\"%])[a-zA-Z]\w*", action)
            assert set(words) <= FUNCTIONS, action
            assert set(re.findall(r"\$labels\.(\w+)", action)) <= labels
        assert text.count("{{ with ") == text.count("{{ end }}")


def promql_made(rule: Rule) -> set[str]:
    return promql.read(rule["expr"]).made


def test_an_alert_is_marked_on_a_panel_that_links_its_runbook() -> None:
    of_uid: dict[str, Any] = {board["uid"]: board for board in BOARDS.values()}
    for rule in provisioned():
        notes = rule["annotations"]
        (panel,) = [
            one for one in panels(of_uid[notes["__dashboardUid__"]]) if str(one["id"]) == notes["__panelId__"]
        ]
        assert notes["runbook_url"] in {link["url"] for link in panel["links"]}


def test_the_file_says_where_it_comes_from() -> None:
    text = (PROVISIONING / "alerting-optional" / "sockets.yml").read_text()
    assert text.startswith("# Made by `make dashboards` from deploy/prometheus/rules/alerts.yml")
    assert yaml.safe_load(text)["apiVersion"] == 1
