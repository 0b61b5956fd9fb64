"""The image: its metadata, and the files it adds to its base."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from exporter import __version__

from .serving import COMMAND, HEALTHCHECK, HOME, MARKS
from .store import BASE, CHECKOUT, IMAGE, Container, Store

pytestmark = MARKS

LABELS: Final = "org.opencontainers.image."
MOST: Final = 90_000_000
"""Maximum size that the image adds to its base, in bytes."""


def test_image_metadata(built: Store) -> None:
    result = built.configuration(IMAGE)
    assert result["User"] == "65534:65534"
    assert result["Entrypoint"] == [COMMAND]
    assert not result.get("Cmd")
    assert list(result["ExposedPorts"]) == ["10066/tcp"]
    assert result["Healthcheck"]["Test"] == ["CMD", *HEALTHCHECK]
    labels = {
        key.removeprefix(LABELS): text for key, text in result["Labels"].items() if key.startswith(LABELS)
    }
    assert labels["version"] == __version__
    assert labels["base.name"] == BASE
    assert labels["licenses"] == "Apache-2.0"
    assert labels["title"] == "socket-state-exporter"
    assert re.fullmatch(r"[0-9a-f]{40}", labels["revision"])
    assert datetime.fromisoformat(labels["created"]).tzinfo
    assert (
        labels["description"]
        == tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["description"]
    )
    assert labels["authors"]
    assert labels["documentation"] == f"{labels['source']}/blob/main/README.md"


def test_image_adds_little_to_its_base(built: Store, container: Container) -> None:
    base = built.container(BASE)
    added = bytes_of(container.root) - bytes_of(base.root)
    print(f"{added / 1e6:.1f} MB over the base")
    assert 0 < added < MOST


def bytes_of(folder: Path) -> int:
    result = subprocess.run(
        ["du", "--summarize", "--bytes", "--one-file-system", folder],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(result.stdout.split()[0])


def test_image_contains_no_build_files(built: Store, container: Container) -> None:
    """Allows one directory with the locked packages, and the bytecode of imported modules."""
    base = built.container(BASE)
    top = {path.name for path in container.root.iterdir()} - {path.name for path in base.root.iterdir()}
    assert top == set()
    assert [path.name for path in (container.root / "opt").iterdir()] == ["socket-state-exporter"]
    (packages,) = (container.root / HOME[1:]).glob("lib/python3*/site-packages")
    installed = {path.name.partition("-")[0].replace("_", "-") for path in packages.glob("*.dist-info")}
    locked = set(re.findall(r"^([\w.-]+)==", (CHECKOUT / "requirements.lock").read_text(), re.MULTILINE))
    assert "socket-state-exporter" in installed
    assert installed - {"socket-state-exporter"} <= {name.lower() for name in locked}
    assert not list(packages.glob("pip*"))
    written = {path.suffix for path in new_files(container.root / "usr", base.root / "usr")}
    assert written == {".pyc"}


def new_files(folder: Path, than: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and not (than / path.relative_to(folder)).exists():
            yield path
