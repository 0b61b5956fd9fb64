"""The README is correct about metrics, flags and files. `--update-golden` writes its reference tables."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from exporter import cli
from exporter.metrics import catalog
from exporter.model.sockets import STATE_NAMES

ROOT: Final = Path(__file__).parent.parent
README: Final = ROOT / "README.md"
DOCUMENTS: Final = ("README.md", "SECURITY.md", "CONTRIBUTING.md")
BENCHMARK: Final = ROOT / "tests/benchmarks/results.json"


def metrics_reference() -> str:
    rows = "\n".join(
        f"| `{spec.exposed_name}` | {spec.type} | {_code(spec.labels)} | {spec.help} |"
        for spec in catalog.METRICS
    )
    return f"| metric | kind | labels | what it says |\n| --- | --- | --- | --- |\n{rows}"


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def flags_reference() -> str:
    """Return the table of flags. The output of argparse differs between versions of Python."""
    actions = cli.build_parser()._actions  # noqa: SLF001  # argparse has no public way to list them
    options = [action for action in actions if action.dest != "help"]
    rows = "\n".join(f"| {_option_text(action)} | {action.help} |" for action in options)
    return f"| flag | what it does |\n| --- | --- |\n{rows}"


def _option_text(action: argparse.Action) -> str:
    argument = "" if action.nargs == 0 else f" {action.metavar}"
    return ", ".join(f"`{option}{argument}`" for option in action.option_strings)


def performance_reference() -> str:
    """Return the tables of the last benchmark run."""
    results = json.loads(BENCHMARK.read_text())
    host, versions, small = results["host"], results["versions"], results["small_host"]
    size, memory = results["sizes"][-1], results["sizes"][-1]["memory"]
    largest = f"at {size['wanted']:,} sockets"
    figures = {
        f"resident memory {largest}": _mebibytes(memory["start"]),
        f"the same after {memory['scrapes']} more scrapes": _mebibytes(memory["end"]),
        f"peak memory {largest}, in the first collection": _mebibytes(memory["peak"]),
        "resident memory with 500 sockets": _mebibytes(small["idle_bytes"]),
        "CPU time of a scrape with 500 sockets": _milliseconds(small["cpu_seconds"]),
        "start to first response with 500 sockets": f"{small['start_seconds']:.2g} s",
    }
    measured = (
        f"Measured on {results['date'][:10]} on {host['cpus']} CPUs ({host['machine']}), Linux "
        f"{host['kernel'].partition('-')[0]}, with Python {versions['python']} and node_exporter "
        f"{versions['node_exporter']}."
    )
    lines = [
        "| sockets | scrape | first scrape | node_exporter `tcpstat` | C program | `ss -tanp` | psutil |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *map(_times, results["sizes"]),
        "",
        "| figure | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in figures.items()),
        "",
        measured,
    ]
    return "\n".join(lines)


def _times(size: Any) -> str:
    readers = (
        "this exporter, warm",
        "this exporter, first scrape",
        "node_exporter tcpstat",
        "C reader of the dump",
        "ss -tanp",
        "psutil.net_connections",
    )
    results = [size["results"].get(name) for name in readers]
    times = [_milliseconds(result["seconds"]) if result else "not measured" for result in results]
    return f"| {size['wanted']:,} | {' | '.join(times)} |"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms" if seconds >= 0.01 else f"{1000 * seconds:.1f} ms"


def _mebibytes(number: int) -> str:
    return f"{number / 2**20:.0f} MiB"


def section(name: str) -> re.Pattern[str]:
    """Return a pattern for the text between the section's marker and its end."""
    return re.compile(rf"(<!-- {name}: [^\n]* -->\n)(.*?)\n?(<!-- end -->)", re.DOTALL)


@pytest.mark.parametrize(
    ("name", "reference"),
    [("metrics", metrics_reference), ("flags", flags_reference), ("performance", performance_reference)],
    ids=["metrics", "flags", "performance"],
)
def test_golden_reference_tables_agree_with_the_code(
    name: str, reference: Callable[[], str], update_golden: bool
) -> None:
    expected = reference()
    if update_golden:
        text = section(name).sub(lambda match: f"{match[1]}{expected}\n{match[3]}", README.read_text())
        README.write_text(text)
    match = section(name).search(README.read_text())
    assert match
    assert expected == match[2]


def test_every_state_is_explained() -> None:
    (table,) = re.findall(r"^\| `netstat` on Linux .*?\n\n", README.read_text(), re.MULTILINE | re.DOTALL)
    explained = re.findall(r"^\|[^|]+\|[^|]+\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(STATE_NAMES.values()) == sorted(explained)


def test_every_metric_in_the_text_exists() -> None:
    named = set(re.findall(r"\bsocket_[a-z_]+\b", README.read_text()))
    assert named <= {spec.exposed_name for spec in catalog.METRICS}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings(document: str) -> None:
    links = [
        target.partition("#")
        for target in re.findall(r"\]\(([^)]+)\)", (ROOT / document).read_text())
        if not target.startswith("https://")
    ]
    assert links
    for name, _, anchor in links:
        target = ROOT / (name or document)
        assert target.exists(), name
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}"


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub derives them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_run_and_test_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("run", "test"):
        assert f"make {target}" in README.read_text()
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
