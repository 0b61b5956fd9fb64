"""Options and fixtures of all tests."""

from __future__ import annotations

import sys

import pytest

collect_ignore = (
    [
        "abuse/test_idlers.py",
        "benchmarks",
        "demo",
        "end_to_end",
        "image",
        "install",
        "live",
        "soak",
        "test_benchmarks.py",
        "wine",
    ]
    if sys.platform == "win32"
    else []
)
"""They need Linux: its namespaces, /proc, resource limits, or programs such as Prometheus and Podman."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the generated output to tests/golden, for review",
    )
    parser.addoption(
        "--abuse",
        action="store_true",
        help="run tests/abuse at the sizes documented in the README, and measure",
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
