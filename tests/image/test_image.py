"""What the image is made of: what it says of itself, and what it holds beside its base."""

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
"""What the image may add to its base, in bytes."""


def test_what_the_image_says_of_itself(built: Store) -> None:
    told = built.configuration(IMAGE)
    assert told["User"] == "65534:65534"
    assert told["Entrypoint"] == [COMMAND]
    assert not told.get("Cmd")
    assert list(told["ExposedPorts"]) == ["10066/tcp"]
    assert told["Healthcheck"]["Test"] == ["CMD", *HEALTHCHECK]
    labels = {
        key.removeprefix(LABELS): text for key, text in told["Labels"].items() if key.startswith(LABELS)
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


def test_it_adds_little_to_its_base(built: Store, container: Container) -> None:
    base = built.container(BASE)
    added = bytes_of(container.root) - bytes_of(base.root)
    print(f"{added / 1e6:.1f} MB over the base")
    assert 0 < added < MOST


def bytes_of(folder: Path) -> int:
    told = subprocess.run(
        ["du", "--summarize", "--bytes", "--one-file-system", folder],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(told.stdout.split()[0])


def test_nothing_is_left_of_the_build(built: Store, container: Container) -> None:
    """Beside the base: one directory, in it what the lock names, and the byte code of what that imports."""
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
