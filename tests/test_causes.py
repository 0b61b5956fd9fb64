"""Every cause of CLOSE_WAIT is explained in all documents; mypy checks the Python code."""

from __future__ import annotations

import re
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


@pytest.mark.parametrize("document", EXPLAINED_IN)
def test_document_explains_dead_file_descriptors(document: str) -> None:
    text = " ".join((ROOT / document).read_text(encoding="utf-8").split())
    assert "dead file descriptor" in text.lower()
    assert "keepalive" in text


@pytest.mark.parametrize("folder", ["deploy/prometheus", "grafana/dashboard_sources"])
def test_documents_do_not_claim_that_close_wait_never_ends(folder: str) -> None:
    """With keepalive, a probe that is answered by a reset ends it."""
    for path in sorted((ROOT / folder).rglob("*.*")):
        if path.suffix in {".md", ".yml", ".py"}:
            text = " ".join(path.read_text(encoding="utf-8").split())
            assert not re.search(r"CLOSE_WAIT has no timeout|no timeout|never ends", text), path
