"""Every query of every dashboard, asked of a real Prometheus that has scraped a host in trouble.

The host is a network namespace. There are leaks of every cause, one of which grows, sockets in TIME_WAIT, a
destination towards which no port is left and one that fills up. Rules are those of deploy/, with shorter
intervals.
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
from ..grafana.boards import BOARDS, Json, Question, filled, panels, questions, variables
from ..live.helpers import hold_leak
from ..running import until
from ..tools import require
from .inside import inside, once

pytestmark = [pytest.mark.live, once, require("prometheus", "prometheus-alertmanager")]

PORTS: Final = Ports()
RANGE: Final = 150
"""Ports to connect from."""
LEAKED: Final = 130
"""Enough to page, while the descriptors of the one that leaks them rise."""
OTHER_LEAKS: Final = {"not_read": 12, "not_accepted": 12, "sending": 2}
"""Cause -> how many other processes of the same name leak."""
HERE: Final = Path(__file__).parents[1] / "grafana"
EMPTY: Final = HERE / "empty.yml"
SHOWN: Final = HERE / "shown"
"""Grafana's own code for tables; `make test-grafana` installs what it needs."""

RIPE: Final = 120.0
"""Seconds after which everything has long happened: it takes some twenty."""

INSTANCE: Final = f"{HOME}:{PORTS.exporter}"
SPANS: Final = {"__rate_interval": "15s", "__range": "1m"}
ALL: Final = {**SPANS, "job": ".+", "instance": ".+", "process": "leaky"}
CHOSEN: Final = {**SPANS, "job": "socket-state-exporter", "instance": INSTANCE, "process": "leaky"}
"""Values of the variables: everything, and one host."""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HTTPConnection]:
    """One connection for all questions: there are few ports to connect from."""
    folder = tmp_path_factory.mktemp("dashboards")
    configuration = folder / "exporter.yml"
    configuration.write_text("max_processes: 50\n")
    with inside() as namespace, ExitStack() as leaks:
        namespace.sysctl("net.ipv4.ip_local_port_range", f"40000 {40000 + RANGE - 1}")
        started = leaks.enter_context(monitoring(folder, PORTS, f"--config.file={configuration}"))
        for number, (cause, count) in enumerate(OTHER_LEAKS.items()):
            leaks.enter_context(hold_leak(namespace, "leaky", cause, count, 19700 + number))
        started.start_service("leaky", PORTS.leaky, keeps=True)
        started.start_service("tidy", PORTS.tidy, keeps=False)
        started.start_service("slow", 19434, keeps=False)
        started.start_service("brief", 19435, keeps=False)
        started.start_caller("churny", 19435, per_second=5, keep=0, count=RANGE)
        started.start_caller("guest", PORTS.leaky, per_second=100, keep=3, count=3)
        started.start_caller("visitor", PORTS.leaky, per_second=10, keep=0, count=LEAKED)
        started.start_caller("filler", 19434, per_second=1, keep=RANGE, count=RANGE)
        started.start_caller("hoarder", PORTS.tidy, per_second=1000, keep=RANGE, count=2 * RANGE)
        with closing(HTTPConnection(HOME, PORTS.prometheus, timeout=30)) as connection:
            yield connection


def ask(prometheus: HTTPConnection, path: str, **parameters: Any) -> list[Any]:
    """What Prometheus finds. It fails for an expression that Prometheus does not take."""
    prometheus.request("GET", f"/api/v1/{path}?{urlencode(parameters, doseq=True)}")
    answer = json.load(prometheus.getresponse())
    assert answer["status"] == "success", answer
    data = answer["data"]
    return data["result"] if isinstance(data, dict) else data


def found(
    prometheus: HTTPConnection, asked: Question, values: Mapping[str, str], now: float = 0
) -> list[Any]:
    """What a query finds, as Grafana asks it, of the minute before some time, or before now."""
    expression, now = filled(asked.expression, values), now or time.time()
    if asked.instant:
        return ask(prometheus, "query", query=expression, time=now)
    return ask(prometheus, "query_range", query=expression, start=now - 60, end=now, step=3)


def listed() -> dict[tuple[str, str, str], str]:
    """(board, panel, query) -> why it is empty."""
    return {
        (one["board"], one["panel"], one["query"]): one["reason"] for one in yaml.safe_load(EMPTY.read_text())
    }


def key(asked: Question) -> tuple[str, str, str]:
    return asked.board, asked.panel, asked.number


@pytest.mark.parametrize("values", [ALL, CHOSEN], ids=["all", "one-host"])
def test_every_query_returns_data(prometheus: HTTPConnection, values: dict[str, str]) -> None:
    empty = [asked for asked in questions() if key(asked) not in listed()]
    assert len(empty) > 100
    deadline = time.monotonic() + RIPE
    while empty and time.monotonic() < deadline:
        empty = [asked for asked in empty if not found(prometheus, asked, values)]
        time.sleep(1)
    assert not empty, "\n".join(map(str, empty))


def test_what_is_listed_as_empty_is_there_and_empty(prometheus: HTTPConnection) -> None:
    there = {key(asked): asked for asked in questions()}
    assert listed().keys() <= there.keys()
    assert [where for where in listed() if found(prometheus, there[where], ALL)] == []


@pytest.mark.parametrize("name", BOARDS)
def test_every_variable_has_values(prometheus: HTTPConnection, name: str) -> None:
    for variable in variables(BOARDS[name]).values():
        if variable["type"] == "query":
            selection, _, label = (
                variable["query"].removeprefix("label_values(").removesuffix(")").rpartition(", ")
            )
            values = ask(prometheus, f"label/{label}/values", **{"match[]": filled(selection, ALL)})
            assert CHOSEN[label] in values


TABLES: Final = sum(panel["type"] == "table" for board in BOARDS.values() for panel in panels(board)) - 1
"""All but that of the exporter's alerts."""

Answers = dict[str, list[Any]]
"""Letter of a query -> the series that it finds."""


def tables(prometheus: HTTPConnection) -> list[tuple[Json, Answers]]:
    """Every table that finds anything, with what its queries find."""
    # Grafana asks all queries of a panel about the same time, and merges by it.
    now, found_by = time.time(), []
    for name, board in BOARDS.items():
        for panel in (one for one in panels(board) if one["type"] == "table"):
            asked = [one for one in questions() if (one.board, one.panel) == (name, panel["title"])]
            answers = {one.number: found(prometheus, one, ALL, now) for one in asked}
            if any(answers.values()):
                found_by.append((panel, answers))
    return found_by


def expected_of_a_table(headings: dict[str, str], answers: Answers) -> tuple[set[str], list[str]]:
    """All headings, and those of labels, which name the lines."""
    series = [one["metric"] for found in answers.values() for one in found]
    labels = [heading for label, heading in headings.items() if any(one.get(label) for one in series)]
    values = ["Value"] if len(answers) == 1 else [f"Value #{number}" for number in answers if answers[number]]
    return {*labels, *(headings[value] for value in values)}, labels


def expected_of_a_matrix(
    headings: dict[str, str], answers: Answers, column: str
) -> tuple[set[str], list[str]]:
    """The same where a label makes the columns."""
    lines = [*headings.values()]
    return {*lines, *(one["metric"][column] for one in answers["A"])}, lines


@pytest.mark.grafana
@pytest.mark.skipif(
    shutil.which("node") is None or not (SHOWN / "node_modules").exists(),
    reason="needs node and @grafana/data (make test-grafana)",
)
def test_grafana_shows_every_label_and_figure_under_its_heading(prometheus: HTTPConnection) -> None:
    for _ in until("nearly every table has something to show", RIPE):
        if len(asked := tables(prometheus)) >= TABLES:
            break
    told = subprocess.run(
        ["node", SHOWN / "tables.cjs"],
        input=json.dumps([{"panel": panel, "answers": answers} for panel, answers in asked]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for (panel, answers), (table,) in zip(asked, json.loads(told.stdout), strict=True):
        first, last = (panel["transformations"][place]["options"] for place in (0, -1))
        headings = last["renameByName"]
        if "columnField" in first:
            expected, lines = expected_of_a_matrix(headings, answers, first["columnField"])
            labels = [first["rowField"]]
        else:
            expected, lines = expected_of_a_table(headings, answers)
            labels = [label for label, heading in headings.items() if heading in lines]
        assert set(table["headings"]) == expected, panel["title"]
        places = [table["headings"].index(line) for line in lines]
        named = [tuple(row[place] for place in places) for row in table["rows"]]
        series = (one["metric"] for found in answers.values() for one in found)
        assert sorted(named) == sorted({tuple(one.get(label, "") for label in labels) for one in series})
