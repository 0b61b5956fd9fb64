"""A first look at many descriptors: others read them while we do something else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from exporter.sources import walk as module
from exporter.sources.walk import Walk

from .hosts import ALL, found
from .trees import Tree, Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many descriptors as the processes have are many."""
    monkeypatch.setattr(module, "_WORTH_A_SURVEY", 10)
    monkeypatch.setattr(module, "_BIG", 5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2))


@pytest.mark.usefixtures("many")
class TestASurvey:
    def test_gives_what_we_would_have_read_and_we_read_no_socket(self, walk: Walk, watch: Watch) -> None:
        walk.begin()
        assert set(found(walk, ALL)) == {(101, 10), (102, 10), (201, 20), (202, 20), (301, 30), (302, 30)}
        assert {number for _, number in watch.links()} <= {0, 1, 2, 5}

    def test_leaves_the_order_of_processes_as_it_is(self, walk: Walk, tree: Tree) -> None:
        """Of those that share a socket, the lowest pid has it."""
        tree.process(5, 201)
        walk.begin()
        pids = [pid for _, pid in found(walk, {999})]
        assert list(dict.fromkeys(pids)) == [5, 10, 20, 30]

    def test_does_not_hide_what_was_opened_since(self, walk: Walk, tree: Tree) -> None:
        walk.begin()
        assert walk._survey  # noqa: SLF001  # else nothing is tested
        tables = walk._survey.tables()  # noqa: SLF001  # waits for it
        walk._survey.tables = lambda: tables  # type: ignore[method-assign]  # noqa: SLF001
        tree.hold(20, 5, 203)
        assert (203, 20) in found(walk, {203}, {*ALL, 203})

    def test_is_made_at_the_first_look_only(self, walk: Walk, watch: Watch) -> None:
        walk.begin()
        found(walk, {999})
        watch.links()
        walk.begin()
        assert walk._survey is None  # noqa: SLF001  # it is told nowhere else

    def test_that_nobody_asked_for_ends_with_the_next_look(self, walk: Walk) -> None:
        walk.begin()
        assert walk._survey  # noqa: SLF001  # as above
        (first, *_) = walk._survey._surveyors  # noqa: SLF001  # as above
        walk.begin()
        assert first.returncode is not None

    def test_without_other_processes_we_read_ourselves(
        self, walk: Walk, monkeypatch: pytest.MonkeyPatch, watch: Watch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        walk.begin()
        assert set(found(walk, ALL)) >= {(101, 10), (302, 30)}
        assert {pid for pid, _ in watch.links()} >= {10, 20, 30}


def without_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORTH_A_SURVEY", 100)


def on_one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(1))


def on_processors_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_getaffinity", refuse)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("where", [without_descriptors, on_one_processor, on_processors_unknown])
def test_no_survey_is_made_where_it_is_no_gain(
    walk: Walk, monkeypatch: pytest.MonkeyPatch, where: Callable[[pytest.MonkeyPatch], None]
) -> None:
    where(monkeypatch)
    walk.begin()
    assert walk._survey is None  # noqa: SLF001  # it is told nowhere else


@pytest.mark.usefixtures("many")
def test_a_kernel_that_tells_no_numbers_gets_none(walk: Walk, watch: Watch) -> None:
    watch.tells_count = False
    walk.begin()
    assert walk._survey is None  # noqa: SLF001  # it is told nowhere else
