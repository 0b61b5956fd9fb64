"""The files, functions, folders and imports that CONTRIBUTING.md names exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from .test_imports import ALLOWED_IMPORTS

ROOT: Final = Path(__file__).parents[1]
TEXT: Final = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FOLDERS: Final = sorted(path.parent.name for path in ROOT.glob("exporter/*/__init__.py"))

# `path`: `name`, `name`
_REFERENCES: Final = re.compile(r"`(exporter/[\w/]+\.py)`:\s+(`[\w.]+`(?:,\s+`[\w.]+`)*)")
_METHOD: Final = re.compile(r"`([A-Z]\w+\.(?!md`)\w+)`")


def section(heading: str) -> str:
    _, found, rest = TEXT.partition(f"## {heading}\n")
    assert found, heading
    return rest.partition("\n## ")[0]


WALK: Final = section("One socket, from netlink to text")
STEPS: Final = re.findall(r"^\d+\. .*?(?=^\d+\. |\Z)", WALK, re.MULTILINE | re.DOTALL)


def references(text: str) -> set[tuple[str, str]]:
    """Return the (file, name) pairs in the text."""
    return {
        (path, name) for path, names in _REFERENCES.findall(text) for name in re.findall(r"`([^`]+)`", names)
    }


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the functions, classes and constants of a module, and the methods and fields of its classes."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(_defined(tree, ""))


def _defined(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + statement.name
        elif isinstance(statement, ast.ClassDef):
            yield prefix + statement.name
            yield from _defined(statement, f"{statement.name}.")
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield prefix + statement.target.id


@pytest.mark.parametrize(("path", "name"), sorted(references(TEXT)))
def test_named_function_exists_in_the_named_file(path: str, name: str) -> None:
    assert name in names_in(path)


def test_methods_named_without_their_file_exist() -> None:
    modules = [str(path.relative_to(ROOT)) for path in ROOT.glob("exporter/**/*.py")]
    known = frozenset[str]().union(*map(names_in, modules))
    assert set(_METHOD.findall(TEXT)) - known == set()


def test_named_paths_exist() -> None:
    paths = set(re.findall(r"`((?:exporter|tests|grafana|deploy)/[\w./-]*)`", TEXT))
    assert paths
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_walk_has_at_most_ten_steps_that_name_file_and_function() -> None:
    assert 1 < len(STEPS) <= 10
    assert [step for step in STEPS if not references(step)] == []


def test_document_opens_with_a_picture_of_every_folder() -> None:
    first, picture = TEXT.split("```")[:2]
    assert len(first.splitlines()) < 6
    assert [folder for folder in FOLDERS if f"{folder}/" not in picture] == []


def test_layout_table_equals_that_of_the_import_test() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", section("Layout"), re.MULTILINE)
    documented = {name: set(imports.split(", ")) - {"-"} for name, _, imports in rows}
    assert documented == {name: allowed - {name} for name, allowed in ALLOWED_IMPORTS.items()}
    assert documented.keys() >= set(FOLDERS)
