"""Names in exporter/ are unique, and no module or folder grows out of proportion."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

import exporter

PACKAGE: Final = Path(exporter.__file__).parent
MODULES: Final = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
MAX_LINES: Final = 400
MAX_SHARE: Final = 0.2

Definition = Callable[[ast.stmt], Iterator[str]]


def parse(module: Path) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


def count_lines(module: Path) -> int:
    return len((PACKAGE / module).read_text(encoding="utf-8").splitlines())


def public_class(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.ClassDef) and not statement.name.startswith("_"):
        yield statement.name


def public_constant(statement: ast.stmt) -> Iterator[str]:
    """Yield the names in upper case that the statement assigns. Type variables are none of them."""
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    elif isinstance(statement, ast.Assign) and not is_type_variable(statement.value):
        targets = [name for target in statement.targets for name in ast.walk(target)]
    else:
        targets = []
    for target in targets:
        if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_"):
            yield target.id


def is_type_variable(value: ast.expr) -> bool:
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id
        in {
            "ParamSpec",
            "TypeVar",
        }
    )


def modules_by_name(names_of: Definition) -> dict[str, list[str]]:
    """Return name -> the modules that define it at their top level."""
    modules = defaultdict(list)
    for module in MODULES:
        for statement in parse(module).body:
            for name in names_of(statement):
                modules[name].append(str(module))
    return modules


@pytest.mark.parametrize("names_of", [public_class, public_constant], ids=["class", "constant"])
def test_no_two_public_definitions_share_a_name(names_of: Definition) -> None:
    modules = modules_by_name(names_of)
    assert len(modules) > 50, "the definitions are not found"
    shared = [f"{name}: {', '.join(where)}" for name, where in modules.items() if len(where) > 1]
    assert not shared, "rename all but one of them:\n" + "\n".join(shared)


def test_no_two_modules_share_a_file_name() -> None:
    paths = defaultdict(list)
    for module in MODULES:
        paths[module.name].append(str(module))
    shared = [
        ", ".join(where) for name, where in paths.items() if len(where) > 1 and not name.startswith("__")
    ]
    assert not shared, "rename all but one of them:\n" + "\n".join(shared)


def test_no_module_has_more_than_400_lines() -> None:
    lines = {module: count_lines(module) for module in MODULES}
    long = [f"{module}: {count} lines" for module, count in lines.items() if count > MAX_LINES]
    assert not long, "split them by concept:\n" + "\n".join(long)


def test_no_folder_has_more_than_a_fifth_of_the_code() -> None:
    lines: defaultdict[str, int] = defaultdict(int)
    for module in MODULES:
        lines[module.parts[0] if len(module.parts) > 1 else "."] += count_lines(module)
    total = sum(lines.values())
    big = [f"{folder}: {count / total:.0%}" for folder, count in lines.items() if count > MAX_SHARE * total]
    assert not big, "move modules to other folders:\n" + "\n".join(big)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("LIMIT: Final = 1", ["LIMIT"]),
        ("A = B = 1", ["A", "B"]),
        ("_PRIVATE = 1", []),
        ("T = TypeVar('T')", []),
        ("logger = 1", []),
        ("A, B = range(2)", ["A", "B"]),
    ],
)
def test_public_constants_are_recognised(source: str, names: list[str]) -> None:
    assert list(public_constant(ast.parse(source).body[0])) == names
