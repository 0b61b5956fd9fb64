"""`python -m grafana [FOLDER]` writes dashboards, and alerts for Grafana, into this folder or another."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from . import alerting
from .boards.exporter import exporter
from .boards.fleet import fleet
from .boards.host import host
from .boards.process import process_board

HERE = Path(__file__).parent


def files() -> dict[str, str]:
    """Path of each file -> what is in it."""
    boards = {"fleet": fleet(), "host": host(), "process": process_board(), "exporter": exporter()}
    places = alerting.places(boards[name] for name in ("host", "exporter", "fleet"))
    written = {
        f"dashboards/{name}.json": json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        for name, board in boards.items()
    }
    return {**written, "provisioning/alerting-optional/sockets.yml": alerting.document(places)}


def main(folder: Path) -> None:
    """Writes every file below a folder."""
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
