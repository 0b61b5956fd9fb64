"""The image's HEALTHCHECK, by flags and responses of the exporter; tests/image runs it in the image."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from ..running import PATIENCE, running
from ..systems import needs_posix
from ..tools import require
from .rules import DEPLOY

HEALTHCHECK: Final = DEPLOY / "image" / "healthcheck.py"
COMMAND: Final = ("/opt/bin/python", "/opt/bin/socket-state-exporter")

pytestmark = needs_posix  # it runs in a container of Linux

Answer = tuple[int, str]


@pytest.fixture
def processes(tmp_path: Path) -> Path:
    """Return a /proc with another program, and an exporter of another container."""
    procfs = tmp_path / "proc"
    process(procfs, 1, ("/sbin/init",), root="/")
    process(procfs, 2, COMMAND, root=str(tmp_path))
    (procfs / "3").mkdir()  # it has ended
    return procfs


def process(procfs: Path, pid: int, command: tuple[str, ...], root: str = "/") -> None:
    folder = procfs / str(pid)
    folder.mkdir(parents=True)
    (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in command))
    (folder / "root").symlink_to(root)


def check(procfs: Path) -> Answer:
    """Return exit status and output."""
    done = subprocess.run(
        [sys.executable, HEALTHCHECK, procfs], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def checked(procfs: Path, *flags: str) -> Answer:
    """Run the check with an exporter process with these flags in this container."""
    process(procfs, 44, (*COMMAND, *flags))
    return check(procfs)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_unhealthy_without_an_exporter_process(processes: Path) -> None:
    assert check(processes) == (1, "no socket-state-exporter is running in this container")


def test_explain_process_is_not_an_exporter(processes: Path) -> None:
    assert checked(processes, "explain", "--json")[0] == 1


def test_listen_address_is_read_from_the_command_line(processes: Path, tmp_path: Path) -> None:
    with running(tmp_path / "log", "--web.telemetry-path=/else") as exporter:
        address = exporter.url.removeprefix("http://")
        healthy = (0, f"{address}: HTTP/1.1 200 OK")
        assert checked(processes, "--log.level", "warn", f"--web.listen-address={address}") == healthy
        process(processes, 45, ("python3", "-m", "exporter", "--web.listen-address", address))
        assert check(processes) == healthy
        port = address.rpartition(":")[2]
        process(processes, 46, (*COMMAND, f"--web.listen-address=:{port}"))
        assert check(processes) == (0, f"{healthy[1]}\n:{port}: HTTP/1.1 200 OK")
        assert left_by_the_client(int(port)) == 0


def left_by_the_client(port: int) -> int:
    """Return the number of IPv4 sockets in TIME_WAIT with this local or remote port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = [(row[1], row[2]) for row in rows if row[3] == "06"]
    return sum(f"{port:04X}" in (local[-4:], remote[-4:]) for local, remote in ends)


def test_every_listen_address_must_respond(processes: Path, tmp_path: Path) -> None:
    with running(tmp_path / "log") as exporter:
        answering = f"--web.listen-address={exporter.url.removeprefix('http://')}"
        port = free_port()
        status, output = checked(processes, answering, f"--web.listen-address=127.0.0.1:{port}")
    assert status == 1
    assert f"127.0.0.1:{port}: [Errno {errno.ECONNREFUSED}]" in output


def test_default_address_is_checked_without_a_flag(processes: Path) -> None:
    """Fail for a port that has no exporter: any program may listen there."""
    assert checked(processes)[1].startswith(":10066: ")


def test_invalid_address_is_reported(processes: Path) -> None:
    assert checked(processes, "--web.listen-address=10066")[0] == 1


@contextmanager
def answering(status: str, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a server that responds with `status`, over TLS if a context is given; yield its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        result.append(server.sockets[0].getsockname()[1])
        ready.set()
        await asyncio.to_thread(over.wait)
        server.close()

    result: list[int] = []
    ready, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield f"127.0.0.1:{result[0]}"
    finally:
        over.set()
        thread.join(PATIENCE)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("200 OK", 0),
        ("401 Unauthorized", 0),
        ("429 Too Many Requests", 0),
        ("404 Not Found", 1),
        ("503 Service Unavailable", 1),
    ],
)
def test_health_follows_the_http_status(processes: Path, status: str, expected: int) -> None:
    with answering(status) as address:
        assert checked(processes, f"--web.listen-address={address}") == (
            expected,
            f"{address}: HTTP/1.1 {status}",
        )


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Serve with a self-signed certificate."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "rsa:2048",
        "-subj",
        "/CN=elsewhere",
        "-days",
        "1",
    ]
    subprocess.run([*make, "-keyout", key, "-out", certificate], capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    return context


@require("openssl")
@pytest.mark.parametrize(("status", "expected"), [("200 OK", 0), ("401 Unauthorized", 0), ("500 Oh", 1)])
def test_tls_exporter_is_healthy(processes: Path, tls: ssl.SSLContext, status: str, expected: int) -> None:
    tls.verify_mode = ssl.CERT_NONE
    tls.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    with answering(status, tls) as address:
        assert checked(processes, f"--web.listen-address={address}") == (
            expected,
            f"{address}: HTTP/1.1 {status}",
        )


@require("openssl")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_server_that_requires_a_client_certificate_is_healthy(
    processes: Path, tls: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.maximum_version = version
    with answering("200 OK", tls) as address:
        result = checked(processes, f"--web.listen-address={address}")
    assert result == (0, f"{address}: TLS, client certificate required")


def test_unresponsive_server_is_unhealthy(processes: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert checked(processes, f"--web.listen-address=127.0.0.1:{port}") == (
            1,
            f"127.0.0.1:{port}: timed out",
        )
