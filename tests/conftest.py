"""What all tests share."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what is produced into tests/golden, to be reviewed",
    )
    parser.addoption(
        "--abuse", action="store_true", help="run tests/abuse at the sizes that the README tells, and measure"
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
