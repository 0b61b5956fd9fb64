"""`python -m grafana [DIRECTORY]` writes the dashboards and alert rules, by default into this directory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from . import alerting
from .dashboard_sources.exporter import exporter_dashboard
from .dashboard_sources.fleet import fleet_dashboard
from .dashboard_sources.host import host_dashboard
from .dashboard_sources.process import process_dashboard

HERE = Path(__file__).parent


def generate_files() -> dict[str, str]:
    """Return the relative path of each generated file -> its text."""
    dashboards = {
        "fleet": fleet_dashboard(),
        "host": host_dashboard(),
        "process": process_dashboard(),
        "exporter": exporter_dashboard(),
    }
    panel_by_alert = alerting.panel_by_alert(dashboards[name] for name in ("host", "exporter", "fleet"))
    files = {
        f"dashboards/{name}.json": json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
        for name, dashboard in dashboards.items()
    }
    return {**files, "provisioning/alerting-optional/sockets.yml": alerting.render(panel_by_alert)}


def main(directory: Path) -> None:
    """Write every generated file below `directory`."""
    for name, text in generate_files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
