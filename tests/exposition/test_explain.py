"""The report as a terminal and as another program get it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from exporter import __version__
from exporter.exposition import explain
from exporter.exposition.findings.finding import Kind, Scope
from exporter.exposition.report import MEANINGS, Report, report
from exporter.model.collectors import CollectorName
from exporter.model.host import KernelCounters
from exporter.model.process import Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import ESTABLISHED, STATE_NAMES

from .looks import PRINTD, QUIET, look, serves, stuck, troubled

GOLDEN: Final = Path(__file__).parent.parent / "golden"


def of(seen: Snapshot) -> Report:
    return report(Scope(seen))


def plain(seen: Snapshot) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(explain.as_json(of(seen), "netlink"))
    return found


def test_the_text_is_the_golden_one(update_golden: bool) -> None:
    text, golden = explain.as_text(of(troubled())), GOLDEN / "explain.txt"
    if update_golden:
        golden.write_text(text)
    assert golden.read_text() == text


def test_the_json_is_the_golden_one(update_golden: bool) -> None:
    text = explain.as_json(of(troubled()), "netlink").replace(__version__, "VERSION")
    golden = GOLDEN / "explain.json"
    if update_golden:
        golden.write_text(text)
    assert golden.read_text() == text


@pytest.mark.parametrize("seen", [QUIET, troubled()])
def test_the_text_fits_a_terminal(seen: Snapshot) -> None:
    lines = explain.as_text(of(seen)).splitlines()
    assert max(map(len, lines)) <= 88
    assert [line for line in lines if line != line.rstrip()] == []


def test_where_there_is_nothing_to_worry_about_it_says_so() -> None:
    told = of(look(serves(ESTABLISHED, 3)))
    assert explain.as_text(told).startswith("Nothing to worry about.\n")
    assert explain.status(told) == 0


def test_notes_are_nothing_to_worry_about() -> None:
    told = of(look(counters=KernelCounters(listen_overflows=3)))
    text = explain.as_text(told)
    assert text.startswith("Nothing to worry about.\n")
    assert "NOTE: 3 times since boot" in text
    assert explain.status(told) == 0


def test_what_could_not_be_seen_is_not_called_fine() -> None:
    told = of(look(serves(ESTABLISHED, 3, owner=Unowned.NOT_FOUND)))
    assert explain.as_text(told).startswith("Nothing to worry about, as far as could be seen.\n")
    assert explain.status(told) == 0


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (look(stuck(20)), "1 thing to worry about: 1 warning."),
        (look(stuck(200)), "1 thing to worry about: 1 critical."),
        (troubled(), "3 things to worry about: 2 critical and 1 warning."),
    ],
)
def test_findings_are_counted(seen: Snapshot, verdict: str) -> None:
    assert of(seen).verdict == verdict
    assert explain.status(of(seen)) == 1


def test_sockets_that_could_not_be_read_are_no_good_news() -> None:
    told = of(
        look(
            groups=None,
            listeners=None,
            stuck=None,
            failed=frozenset({CollectorName.STATES, CollectorName.LISTENERS}),
        )
    )
    assert explain.as_text(told).startswith("The sockets could not be read.\n")
    assert explain.status(told) == 2


def test_states_are_those_of_the_kernel_the_most_first() -> None:
    states = plain(troubled())["states"]
    assert set(states) == set(STATE_NAMES.values()) == set(MEANINGS)
    assert list(states.values()) == sorted(states.values(), reverse=True)
    assert states["close_wait"] == 415
    assert "listen" not in plain(look(failed=frozenset({CollectorName.LISTENERS})))["states"]
    assert plain(look(groups=None, failed=frozenset({CollectorName.STATES})))["states"] is None


def test_more_findings_than_anybody_reads_are_counted() -> None:
    seen = look(*(stuck(20, port=port) for port in range(1, 32)))
    text = explain.as_text(of(seen))
    assert text.count("WARNING: ") == 20
    assert "And 11 findings more: `--json` lists all." in text
    assert len(plain(seen)["findings"]) == 31


def test_every_kind_of_finding_is_documented() -> None:
    assert explain.__doc__
    for kind in Kind:
        assert f"`{kind.value}`" in explain.__doc__


def test_every_key_of_the_json_is_documented() -> None:
    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    assert explain.__doc__
    documented = {word for word in explain.__doc__.split("`") if word.isidentifier()}
    assert keys({**plain(troubled()), "states": {}}) <= documented


def test_a_name_that_no_terminal_can_show_is_written_all_the_same() -> None:
    seen = look(stuck(20), names={PRINTD: "\udcff\x1b[31m"})
    assert r"\udcff\x1b[31m (pid 4711)" in explain.as_text(of(seen))
    assert plain(seen)["findings"][0]["processes"][0]["name"] == "\udcff\x1b[31m"
