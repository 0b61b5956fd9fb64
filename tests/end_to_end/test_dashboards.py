"""Run every query of every dashboard in a real Prometheus that has scraped a host with problems.

The host is a network namespace. It has leaks of every cause, one of which grows, sockets in TIME_WAIT, a
destination with exhausted ports, and one whose ports are being exhausted. A second host is a simulated print
server with Windows. Rules are those of deploy/, with shorter intervals.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import yaml

from ..demo.monitoring import monitoring
from ..demo.ports import HOME, Ports
from ..demo.windows_host import EXPORTER, print_server
from ..grafana.dashboards import (
    DASHBOARDS,
    Json,
    PanelQuery,
    panel_queries,
    panels,
    substitute_variables,
    variables,
)
from ..live.helpers import hold_leak
from ..running import until
from ..tools import require
from .inside import inside, once

pytestmark = [pytest.mark.live, once, require("prometheus", "prometheus-alertmanager")]

PORTS: Final = Ports()
RANGE: Final = 150
"""Size of the ephemeral port range."""
LEAKED: Final = 130
"""Enough for a critical alert, while the file descriptors of the leaking process grow."""
OTHER_LEAKS: Final = {"not_read": 12, "not_accepted": 12, "sending": 2, "keepalive": 12, "unconnected": 2}
"""Cause -> number of leaked connections of another process with the same name."""
GRAFANA_TESTS: Final = Path(__file__).parents[1] / "grafana"
EXPECTED_EMPTY: Final = GRAFANA_TESTS / "expected_empty.yml"
RENDERER: Final = GRAFANA_TESTS / "renderer"
"""Grafana's own code for tables; `make test-grafana` installs its dependencies."""

SETTLE_SECONDS: Final = 120.0
"""Maximum time until every query returns data; it takes about 20 s."""

INSTANCE: Final = f"{HOME}:{PORTS.exporter}"
THRESHOLD: Final = "socket:threshold:"
"""Prefix of the lines that panels draw in addition to their data."""

WINDOWS_WITHOUT_DATA: Final = {
    ("exporter", "CPU usage of the exporter"): "the simulated exporter is part of the test",
    ("exporter", "Memory usage of the exporter"): "the simulated exporter is part of the test",
    ("exporter", "Firing alerts"): "the exporter works",
}
"""(dashboard, panel) without data for the print server -> the reason, which is not its system."""

SPANS: Final = {"__rate_interval": "15s", "__range": "1m"}
ALL: Final = {**SPANS, "job": ".+", "instance": ".+", "process": "leaky"}
CHOSEN: Final = {**SPANS, "job": "socket-state-exporter", "instance": INSTANCE, "process": "leaky"}
WINDOWS: Final = {**SPANS, "job": "socket-state-exporter", "instance": EXPORTER, "process": "spoolsv"}
"""Values of the variables: all hosts, one with Linux, and one with Windows."""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HTTPConnection]:
    """One connection for all queries, because the namespace has few ephemeral ports."""
    folder = tmp_path_factory.mktemp("dashboards")
    configuration = folder / "exporter.yml"
    configuration.write_text("max_processes: 50\n")
    with inside() as namespace, ExitStack() as leaks:
        namespace.sysctl("net.ipv4.ip_local_port_range", f"40000 {40000 + RANGE - 1}")
        # Two scrape intervals in CLOSE_WAIT: after one scrape the dead descriptors are `lost`.
        namespace.sysctl("net.ipv4.tcp_fin_timeout", "6")
        targets = leaks.enter_context(print_server(19166, 19182))
        started = leaks.enter_context(
            monitoring(folder, PORTS, f"--config.file={configuration}", targets=targets)
        )
        started.wait_for_scrape()
        for number, (cause, count) in enumerate(OTHER_LEAKS.items()):
            leaks.enter_context(hold_leak(namespace, "leaky", cause, count, 19700 + number))
        started.start_service("leaky", PORTS.leaky, keeps=True)
        started.start_service("tidy", PORTS.tidy, keeps=False)
        started.start_service("slow", 19434, keeps=False)
        started.start_service("brief", 19435, keeps=False)
        started.start_client("churny", 19435, per_second=5, keep=0, count=RANGE)
        started.start_client("guest", PORTS.leaky, per_second=100, keep=3, count=3)
        started.start_client("visitor", PORTS.leaky, per_second=10, keep=0, count=LEAKED)
        started.start_client("filler", 19434, per_second=1, keep=RANGE, count=RANGE)
        started.start_client("hoarder", PORTS.tidy, per_second=1000, keep=RANGE, count=2 * RANGE)
        with closing(HTTPConnection(HOME, PORTS.prometheus, timeout=30)) as connection:
            yield connection


def api_get(prometheus: HTTPConnection, path: str, **parameters: Any) -> list[Any]:
    """Return the data of an API call. It fails for an invalid expression."""
    prometheus.request("GET", f"/api/v1/{path}?{urlencode(parameters, doseq=True)}")
    answer = json.load(prometheus.getresponse())
    assert answer["status"] == "success", answer
    data = answer["data"]
    return data["result"] if isinstance(data, dict) else data


def run_query(
    prometheus: HTTPConnection, query: PanelQuery, values: Mapping[str, str], now: float = 0
) -> list[Any]:
    """Return the result of a query, as Grafana sends it, for the minute before `now`."""
    expression, now = substitute_variables(query.expression, values), now or time.time()
    if query.instant:
        return api_get(prometheus, "query", query=expression, time=now)
    return api_get(prometheus, "query_range", query=expression, start=now - 60, end=now, step=3)


def expected_empty(values: Mapping[str, str]) -> dict[tuple[str, str, str], str]:
    """Return (dashboard, panel, query) -> why it returns no data for these values."""
    return {
        (entry["dashboard"], entry["panel"], entry["query"]): entry["reason"]
        for entry in yaml.safe_load(EXPECTED_EMPTY.read_text())
        # The dashboard of a process is about one host, whose system is Linux for both.
        if entry.get("system") is None or values is CHOSEN or entry["dashboard"] == "process"
    }


def key(query: PanelQuery) -> tuple[str, str, str]:
    return query.dashboard, query.panel, query.ref_id


each_selection = pytest.mark.parametrize("values", [ALL, CHOSEN], ids=["all", "one-host"])


@each_selection
def test_every_query_returns_data(prometheus: HTTPConnection, values: dict[str, str]) -> None:
    empty = [query for query in panel_queries() if key(query) not in expected_empty(values)]
    assert len(empty) > 100
    deadline = time.monotonic() + SETTLE_SECONDS
    while empty and time.monotonic() < deadline:
        empty = [query for query in empty if not run_query(prometheus, query, values)]
        time.sleep(1)
    assert not empty, "\n".join(map(str, empty))


@each_selection
def test_listed_queries_exist_and_return_no_data(prometheus: HTTPConnection, values: dict[str, str]) -> None:
    queries = {key(query): query for query in panel_queries()}
    listed = expected_empty(values)
    assert listed.keys() <= queries.keys()
    assert [one for one in listed if run_query(prometheus, queries[one], values)] == []


def test_panel_without_data_for_windows_says_so(prometheus: HTTPConnection) -> None:
    queries = [query for query in panel_queries() if not query.expression.startswith(THRESHOLD)]
    silent = {
        (name, panel["title"])
        for name, dashboard in DASHBOARDS.items()
        for panel in panels(dashboard)
        if panel.get("targets") and "Windows" not in panel["description"]
    }
    deadline = time.monotonic() + SETTLE_SECONDS
    while silent - WINDOWS_WITHOUT_DATA.keys() and time.monotonic() < deadline:
        silent -= {
            (query.dashboard, query.panel)
            for query in queries
            if (query.dashboard, query.panel) in silent and run_query(prometheus, query, WINDOWS)
        }
        time.sleep(1)
    assert silent == WINDOWS_WITHOUT_DATA.keys()


def test_panel_called_empty_on_windows_is_empty(prometheus: HTTPConnection) -> None:
    titles = {
        (name, panel["title"])
        for name, dashboard in DASHBOARDS.items()
        for panel in panels(dashboard)
        if "Empty on Windows" in panel["description"]
    }
    assert len(titles) > 5
    for query in panel_queries():
        if (query.dashboard, query.panel) in titles and not query.expression.startswith(THRESHOLD):
            assert run_query(prometheus, query, WINDOWS) == [], query


def test_print_server_row_joins_printers_and_jobs_of_the_host(prometheus: HTTPConnection) -> None:
    queries = {key(query): query for query in panel_queries()}
    rows = {
        (series["metric"]["host"], series["metric"]["printer"], series["metric"]["status"]): series["value"][
            1
        ]
        for series in run_query(prometheus, queries["host", "Printers", "A"], WINDOWS)
    }
    assert rows == {("print1", "Floor 1", "Idle"): "0", ("print1", "Floor 2", "Offline"): "9"}


def test_alert_on_the_spooler_fires(prometheus: HTTPConnection) -> None:
    firing = 'ALERTS{alertname="CloseWaitStuck", process="spoolsv", alertstate="firing"}'
    for _ in until("the alert fires", SETTLE_SECONDS):
        if found := api_get(prometheus, "query", query=firing):
            break
    assert {series["metric"]["severity"] for series in found} == {"warning", "critical"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_variable_has_values(prometheus: HTTPConnection, name: str) -> None:
    for variable in variables(DASHBOARDS[name]).values():
        if variable["type"] == "query":
            series, _, label = (
                variable["query"].removeprefix("label_values(").removesuffix(")").rpartition(", ")
            )
            match = {"match[]": substitute_variables(series, ALL)}
            assert CHOSEN[label] in api_get(prometheus, f"label/{label}/values", **match)


def table_panels(dashboard: Json) -> list[Json]:
    return [panel for panel in panels(dashboard) if panel["type"] == "table"]


MIN_TABLES: Final = sum(len(table_panels(dashboard)) for dashboard in DASHBOARDS.values()) - 1
"""All tables except the one with the exporter's alerts."""

Answers = dict[str, list[Any]]
"""refId of a query -> its result."""


def tables_with_data(prometheus: HTTPConnection) -> list[tuple[Json, Answers]]:
    """Return every table panel that has data, with the results of its queries."""
    # Grafana runs all queries of a panel for the same time, and merges their results by time.
    now, tables = time.time(), []
    for name, dashboard in DASHBOARDS.items():
        for panel in table_panels(dashboard):
            answers = {
                query.ref_id: run_query(prometheus, query, ALL, now)
                for query in panel_queries()
                if (query.dashboard, query.panel) == (name, panel["title"])
            }
            if any(answers.values()):
                tables.append((panel, answers))
    return tables


def expected_table(headings: dict[str, str], answers: Answers) -> tuple[set[str], list[str]]:
    """Return all headings, and the headings of the labels that identify a row."""
    all_labels = [series["metric"] for result in answers.values() for series in result]
    labels = [heading for label, heading in headings.items() if any(one.get(label) for one in all_labels)]
    values = ["Value"] if len(answers) == 1 else [f"Value #{ref_id}" for ref_id in answers if answers[ref_id]]
    return {*labels, *(headings[value] for value in values)}, labels


def expected_pivot_table(
    headings: dict[str, str], answers: Answers, column: str
) -> tuple[set[str], list[str]]:
    """Return all headings, and the headings of the labels that identify a row, of a pivot table."""
    row_headings = [*headings.values()]
    return {*row_headings, *(series["metric"][column] for series in answers["A"])}, row_headings


@pytest.mark.grafana
@pytest.mark.skipif(
    shutil.which("node") is None or not (RENDERER / "node_modules").exists(),
    reason="needs node and @grafana/data (make test-grafana)",
)
def test_grafana_shows_labels_and_values_under_their_headings(prometheus: HTTPConnection) -> None:
    for _ in until("nearly every table has data", SETTLE_SECONDS):
        if len(tables := tables_with_data(prometheus)) >= MIN_TABLES:
            break
    rendered = subprocess.run(
        ["node", RENDERER / "tables.cjs"],
        input=json.dumps([{"panel": panel, "answers": answers} for panel, answers in tables]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for (panel, answers), (table,) in zip(tables, json.loads(rendered.stdout), strict=True):
        first, last = (panel["transformations"][index]["options"] for index in (0, -1))
        headings = last["renameByName"]
        if "columnField" in first:
            expected, row_headings = expected_pivot_table(headings, answers, first["columnField"])
            labels = [first["rowField"]]
        else:
            expected, row_headings = expected_table(headings, answers)
            labels = [label for label, heading in headings.items() if heading in row_headings]
        assert set(table["headings"]) == expected, panel["title"]
        columns = [table["headings"].index(heading) for heading in row_headings]
        row_keys = [tuple(row[column] for column in columns) for row in table["rows"]]
        all_labels = (series["metric"] for result in answers.values() for series in result)
        assert sorted(row_keys) == sorted(
            {tuple(one.get(label, "") for label in labels) for one in all_labels}
        )
