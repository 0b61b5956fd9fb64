"""A /proc tree of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from .trees import Clock, Tree, Watch


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "proc")


@pytest.fixture
def watch(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(tree, monkeypatch.setattr)


@pytest.fixture
def clock() -> Clock:
    return Clock()
