"""Every cause of CLOSE_WAIT is explained in all documents; mypy checks the Python code."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from exporter.metrics.catalog import SOCKET_CLOSE_WAIT_SOCKETS
from exporter.model.close_wait import Cause

ROOT: Final = Path(__file__).parent.parent
EXPLAINED_IN: Final = (
    "README.md",
    "deploy/prometheus/runbooks/CloseWaitStuck.md",
    "deploy/prometheus/runbooks/CloseWaitGrowing.md",
    "grafana/dashboard_sources/causes.md",
)


def test_label_values_are_the_documented_ones() -> None:
    assert list(Cause) == ["not_accepted", "not_read", "not_closed", "sending", "unknown"]


@pytest.mark.parametrize("cause", Cause)
def test_help_text_of_the_metric_explains_each_cause(cause: Cause) -> None:
    assert f"`{cause.value}`" in SOCKET_CLOSE_WAIT_SOCKETS.help


@pytest.mark.parametrize("cause", Cause)
def test_dashboards_explain_each_cause(cause: Cause) -> None:
    text = (ROOT / "grafana/dashboard_sources/close_wait.py").read_text(encoding="utf-8")
    assert f"{cause.value}: " in text


@pytest.mark.parametrize("document", EXPLAINED_IN)
@pytest.mark.parametrize("cause", Cause)
def test_document_explains_each_cause(cause: Cause, document: str) -> None:
    assert f"`{cause.value}`" in (ROOT / document).read_text(encoding="utf-8")
