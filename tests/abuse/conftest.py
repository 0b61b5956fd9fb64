"""Sizes, the exporter under test, and the table of measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import bcrypt
import pytest

from ..certificates import Authority
from ..running import running
from .target import PASSWORD, USER, Target

FIGURES: Final = pytest.StashKey[list[tuple[str, str]]]()


class Size(NamedTuple):
    """Numbers of clients and requests."""

    scrapers: int
    idlers: int
    scrapes: int
    requests: int


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--abuse"))


@pytest.fixture(scope="session")
def size(full: bool) -> Size:
    return Size(200, 500, 1000, 10_000) if full else Size(30, 60, 40, 150)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize tests with TLS, and at full scale also without: TLS is the harder case."""
    if "tls" in metafunc.fixturenames:
        over = [True, False] if metafunc.config.getoption("--abuse") else [True]
        metafunc.parametrize("tls", over, ids=["tls", "plain"][: len(over)])


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Add a measurement to the table at the end."""
    figures = request.config.stash.setdefault(FIGURES, [])
    return lambda what, figure: figures.append((what, figure))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if (figures := config.stash.get(FIGURES, [])) and config.getoption("--abuse"):
        terminalreporter.section("measured")
        for what, figure in figures:
            terminalreporter.write_line(f"| {what} | {figure} |")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Target]]:
    """Return a function that starts an exporter: tls, basic authentication (users), cost of bcrypt."""
    with ExitStack() as stack:

        def started(*, tls: bool = False, users: bool = False, cost: int = 4) -> Target:
            settings = ""
            if tls:
                Authority(tmp_path).sign("server")
                settings += "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"
            if users:
                hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(cost)).decode()
                settings += f"basic_auth_users: {{{USER}: {hashed}}}\n"
            file = tmp_path / "web.yml"
            file.write_text(settings)
            exporter = stack.enter_context(running(tmp_path / "log", f"--web.config.file={file}"))
            return Target(exporter, tmp_path / "ca.pem" if tls else None)

        yield started
