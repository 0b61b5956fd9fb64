"""The README tells the truth about metrics, flags and files. `--update-golden` writes its references."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pytest

from exporter import cli
from exporter.metrics import catalog
from exporter.model.sockets import STATE_NAMES

ROOT: Final = Path(__file__).parent.parent
README: Final = ROOT / "README.md"


def metrics_reference() -> str:
    rows = "\n".join(
        f"| `{spec.exposed_name}` | {spec.type} | {_code(spec.labels)} | {spec.help} |"
        for spec in catalog.METRICS
    )
    return f"| metric | kind | labels | what it says |\n| --- | --- | --- | --- |\n{rows}"


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def flags_reference() -> str:
    """A table of our own: how argparse prints its help differs from one Python to the next."""
    actions = cli.parser()._actions  # noqa: SLF001  # argparse has no public way to list them
    ours = [action for action in actions if action.dest != "help"]
    rows = "\n".join(f"| {_spelled(action)} | {action.help} |" for action in ours)
    return f"| flag | what it does |\n| --- | --- |\n{rows}"


def _spelled(action: argparse.Action) -> str:
    takes = "" if action.nargs == 0 else f" {action.metavar}"
    return ", ".join(f"`{option}{takes}`" for option in action.option_strings)


def section(name: str) -> re.Pattern[str]:
    """What stands between the section's marker and its end."""
    return re.compile(rf"(<!-- {name}: [^\n]* -->\n)(.*?)\n?(<!-- end -->)", re.DOTALL)


@pytest.mark.parametrize(
    ("name", "reference"),
    [("metrics", metrics_reference), ("flags", flags_reference)],
    ids=["metrics", "flags"],
)
def test_the_golden_references_are_what_the_code_says(
    name: str, reference: Callable[[], str], update_golden: bool
) -> None:
    expected = reference()
    if update_golden:
        text = section(name).sub(lambda found: f"{found[1]}{expected}\n{found[3]}", README.read_text())
        README.write_text(text)
    found = section(name).search(README.read_text())
    assert found
    assert expected == found[2]


def test_every_state_is_explained() -> None:
    (table,) = re.findall(r"^\| `netstat` on Linux .*?\n\n", README.read_text(), re.MULTILINE | re.DOTALL)
    explained = re.findall(r"^\|[^|]+\|[^|]+\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(STATE_NAMES.values()) == sorted(explained)


def test_every_metric_named_anywhere_exists() -> None:
    named = set(re.findall(r"\bsocket_[a-z_]+\b", README.read_text()))
    assert named <= {spec.exposed_name for spec in catalog.METRICS}


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert targets
    assert [] == [target for target in targets if not (ROOT / target).exists()]


def test_anchors_lead_to_headings() -> None:
    text = README.read_text()
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def test_the_two_commands_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("run", "test"):
        assert f"make {target}" in README.read_text()
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
