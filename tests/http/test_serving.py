"""The exporter with TLS and basic authentication, reloads, and started by systemd."""

from __future__ import annotations

import base64
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import bcrypt
import pytest

from ..certificates import Authority
from ..running import COMMAND, ELSEWHERE, Exporter, run, running, until, value
from ..tools import require

pytestmark = [
    require("openssl"),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send to another process"),
]

SALT: Final = b"$2b$04$abcdefghijklmnopqrstuu"
PASSWORD: Final = "correct horse battery staple"  # noqa: S105  # used only in tests
SUCCESSFUL: Final = "socket_exporter_config_last_reload_successful"


def users(password: str = PASSWORD) -> str:
    return f"basic_auth_users: {{prometheus: {bcrypt.hashpw(password.encode(), SALT).decode()}}}\n"


TLS: Final = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority(folder)
    authority.sign("server")
    authority.sign("other")
    return folder


@pytest.fixture
def web(tmp_path: Path, pki: Path) -> Path:
    """The web configuration, in the directory of its certificate."""
    for name in ("server.pem", "server.key"):
        shutil.copy(pki / name, tmp_path)
    file = tmp_path / "web.yml"
    file.write_text(TLS + users())
    return file


class Client:
    """Sends requests to an exporter, each over a new connection."""

    def __init__(
        self, exporter: Exporter, pki: Path, password: str | None = PASSWORD, *, tls: bool = True
    ) -> None:
        self._port = int(exporter.url.rpartition(":")[2])
        self._context = ssl.create_default_context(cafile=str(pki / "ca.pem")) if tls else None
        credentials = base64.b64encode(f"prometheus:{password}".encode()).decode()
        self._headers = {} if password is None else {"Authorization": f"Basic {credentials}"}

    def send_request(self, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
        if self._context:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "localhost", self._port, timeout=20, context=self._context
            )
        else:
            connection = http.client.HTTPConnection("localhost", self._port, timeout=20)
        try:
            connection.request(method, path, headers=self._headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def serial(self) -> object:
        """Return the serial number of the certificate that is served."""
        assert self._context
        with (
            socket.create_connection(("localhost", self._port), timeout=20) as raw,
            self._context.wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            certificate = connection.getpeercert()
        assert certificate
        return certificate["serialNumber"]


def test_every_page_requires_the_password(web: Path, pki: Path, tmp_path: Path) -> None:
    with running(tmp_path / "log", f"--web.config.file={web}", "--log.level=debug") as exporter:
        paths = ("/metrics", "/", "/-/healthy", "/-/ready", "/-/reload", "/nothing")
        for password in (None, "guess", "x" * 73):
            answers = [Client(exporter, pki, password).send_request(path) for path in paths]
            assert answers == [(401, "unauthorized\n")] * len(paths)
        assert [Client(exporter, pki).send_request(path)[0] for path in paths] == [
            200,
            200,
            200,
            200,
            405,
            404,
        ]
        assert value(Client(exporter, pki).send_request()[1], SUCCESSFUL) == 1
        plain = Client(exporter, pki, tls=False).send_request()
        assert plain == (400, "Client sent an HTTP request to an HTTPS server.\n")
    log = exporter.log.read_text()
    assert "tls=true" in log
    for word in ("Traceback", "guess", PASSWORD, "Basic", "uthorization", "$2b$"):
        assert word not in log


def test_changed_certificate_is_served_without_reload(web: Path, pki: Path, tmp_path: Path) -> None:
    with running(tmp_path / "log", f"--web.config.file={web}") as exporter:
        client = Client(exporter, pki)
        old = client.serial()
        shutil.copy(pki / "other.key", web.with_name("server.key"))
        shutil.copy(pki / "other.pem", web.with_name("server.pem"))
        assert client.serial() != old
        assert client.send_request()[0] == 200


def hang_up(exporter: Exporter, _client: Client) -> None:
    exporter.process.send_signal(signal.SIGHUP)


def post(_exporter: Exporter, client: Client) -> None:
    client.send_request("/-/reload", "POST")


@pytest.mark.parametrize("reload", [hang_up, post])
def test_reload_applies_valid_and_rejects_invalid_files(
    web: Path, pki: Path, tmp_path: Path, reload: Callable[[Exporter, Client], None]
) -> None:
    flags = (f"--web.config.file={web}", "--web.enable-lifecycle")
    with running(tmp_path / "log", *flags) as exporter:
        old, new = Client(exporter, pki), Client(exporter, pki, "new")
        web.write_text(TLS + users("new"))
        reload(exporter, old)
        for _ in until("the new password holds"):
            if new.send_request("/-/healthy")[0] == 200:
                break
        assert old.send_request()[0] == 401
        web.write_text("basic_auth_users: {prometheus: plain}\n")
        reload(exporter, new)
        for _ in until("the metrics tell of the bad file"):
            if value(new.send_request()[1], SUCCESSFUL) == 0:
                break
        assert f"{web}: basic_auth_users.prometheus: not a bcrypt hash" in exporter.log.read_text()
        web.write_text("")
        reload(exporter, new)
        for _ in until("neither TLS nor a password is needed"):
            try:
                if Client(exporter, pki, None, tls=False).send_request()[0] == 200:
                    break
            except (http.client.RemoteDisconnected, ConnectionError):
                continue
        assert value(exporter.get(), SUCCESSFUL) == 1


def test_reload_with_one_invalid_file_changes_nothing(web: Path, pki: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text("max_processes: 7\n")
    with running(tmp_path / "log", f"--web.config.file={web}", f"--config.file={config}") as exporter:
        config.write_text("max_processes: many\n")
        web.write_text("")
        exporter.process.send_signal(signal.SIGHUP)
        for _ in until("the metrics tell of the bad file"):
            if value(Client(exporter, pki).send_request()[1], SUCCESSFUL) == 0:
                break
        assert Client(exporter, pki, None).send_request()[0] == 401


def test_reload_over_http_is_disabled_by_default(web: Path, pki: Path, tmp_path: Path) -> None:
    with running(tmp_path / "log", f"--web.config.file={web}") as exporter:
        assert Client(exporter, pki).send_request("/-/reload", "POST")[0] == 403


def test_failed_reload_shows_the_client_no_path(tmp_path: Path, pki: Path) -> None:
    web = tmp_path / "web.yml"
    web.write_text("")
    with running(tmp_path / "log", f"--web.config.file={web}", "--web.enable-lifecycle") as exporter:
        web.unlink()
        status, body = Client(exporter, pki, None, tls=False).send_request("/-/reload", "POST")
        assert (status, body) == (500, "not reloaded: see the log of the exporter\n")


@pytest.mark.parametrize("flags", [["--config.check"], ["--web.listen-address=127.0.0.1:0"], ["--once"]])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("http_server_config: {http2: true}", "http_server_config.http2: only HTTP/1.1 is served"),
        (
            "tls_server_config: {cert_file: none.pem, key_file: none.key}",
            "none.pem: No such file or directory",
        ),
        ("basic_auth_users: {a: b}", "basic_auth_users.a: not a bcrypt hash"),
        (None, "No such file or directory"),
    ],
)
def test_invalid_file_prevents_the_start(
    tmp_path: Path, content: str | None, problem: str, flags: list[str]
) -> None:
    file = tmp_path / "web.yml"
    if content is not None:
        file.write_text(f"{content}\n")
    refused = run(f"--web.config.file={file}", *flags)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"socket-state-exporter: {file}: " in refused.stderr
    assert problem in refused.stderr
    assert "Traceback" not in refused.stderr


def test_config_check_accepts_valid_files(web: Path) -> None:
    checked = run("--config.check", f"--web.config.file={web}")
    assert (checked.returncode, checked.stdout) == (0, f"no configuration file: OK\n{web}: OK\n")


def test_address_and_systemd_socket_exclude_each_other() -> None:
    refused = run("--web.systemd-socket", "--web.listen-address=:1")
    assert refused.returncode == 2
    assert "not allowed with" in refused.stderr


def test_missing_systemd_socket_is_an_error() -> None:
    refused = run("--web.systemd-socket")
    assert refused.returncode == 1
    assert "systemd has passed no sockets" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Yield a datagram socket in the role of systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        yield manager


def test_systemd_socket_is_served_and_systemd_notified(manager: socket.socket, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, (tmp_path / "log").open("w") as log:
        port = listener.getsockname()[1]
        # The shell is the process that becomes the exporter: LISTEN_PID is its pid.
        start = f'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<&{listener.fileno()}'
        process = subprocess.Popen(
            ["bash", "-c", start, "start", *COMMAND, "--web.systemd-socket"],
            stderr=log,
            cwd=ELSEWHERE,
            pass_fds=(listener.fileno(),),
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        try:
            assert manager.recv(1024) == b"READY=1"
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/metrics")
            assert connection.getresponse().status == 200
            process.send_signal(signal.SIGHUP)
            assert manager.recv(1024).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(1024) == b"READY=1"
            process.terminate()
            assert manager.recv(1024) == b"STOPPING=1"
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
