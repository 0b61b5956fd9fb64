"""The image, built once from the Dockerfile, and a socket for its exporter to find."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from .store import BASE, IMAGE, Container, Engine, Store, store


@pytest.fixture(scope="session")
def built() -> Iterator[Store]:
    with store() as made:
        made.base(BASE)
        made.build(BASE, IMAGE)
        yield made


@pytest.fixture(scope="session")
def container(built: Store) -> Container:
    """Return a container with default settings, not as root."""
    return built.container(IMAGE)


@pytest.fixture(scope="session")
def engine(built: Store) -> Iterator[Engine]:
    engine = built.engine()
    tried = engine.run("run", "--rm", "--net=none", IMAGE, "--version")
    if tried.returncode:
        pytest.skip(f"podman runs no container here: {tried.stderr}")
    yield engine
    engine.run("rm", "--all", "--force")


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def leak() -> Iterator[int]:
    """Run a program on this host that never accepts and whose client has closed; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sleep = subprocess.Popen(
            ["sleep", "300"], user=65533, group=65533, extra_groups=[], pass_fds=[listener.fileno()]
        )
        port = int(listener.getsockname()[1])
    socket.create_connection(("127.0.0.1", port)).close()
    yield port
    sleep.kill()
    sleep.wait()
