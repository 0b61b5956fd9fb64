"""The exporter serves in Windows' Python: TLS, users, reloads, files as Windows' editors write them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from ..certificates import Authority
from ..end_to_end.inside import entered
from ..running import Exporter, until
from ..tools import require
from .serving import serving
from .windows import Windows, windows_path

pytestmark = [pytest.mark.wine, require("curl", "openssl")]

WEB: Final = """\
tls_server_config: {cert_file: server.pem, key_file: server.key}
basic_auth_users: {prometheus: $2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW}
"""
"""The password is `secret`."""

NAMES: Final = "process_names:\r\n- name: drücker-日本\r\n  comm: [python]\r\n"


class Secured(NamedTuple):
    """An exporter with TLS and a user, and the folder of its files."""

    exporter: Exporter
    folder: Path

    def status(self, path: str = "/metrics", *options: str, user: str = "prometheus:secret") -> str:
        """Return the HTTP status of a request; empty if there is no response."""
        url = self.exporter.url.replace("http://", "https://") + path
        output = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]
        trusted = ["--cacert", str(self.folder / "ca.pem"), "--max-time", "20"]
        command = ["curl", *output, *trusted, "--user", user, *options, url]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def log(self) -> str:
        return self.exporter.log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def secured(windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    Authority(folder).sign("server")
    # Notepad begins a file with a byte order mark and ends lines with CR LF.
    (folder / "web.yml").write_bytes(b"\xef\xbb\xbf" + WEB.replace("\n", "\r\n").encode())
    (folder / "names.yml").write_bytes(b"\xef\xbb\xbf" + NAMES.encode())
    flags = [
        "--web.enable-lifecycle",
        f"--web.config.file={windows_path(folder / 'web.yml')}",
        f"--config.file={windows_path(folder / 'names.yml')}",
    ]
    with entered(windows.namespace), serving(windows, folder / "log", *flags) as exporter:
        yield Secured(exporter, folder)


@pytest.mark.parametrize(
    ("user", "status"), [("prometheus:secret", "200"), ("prometheus:wrong", "401"), ("root:secret", "401")]
)
def test_only_the_user_with_the_password_may_scrape(secured: Secured, user: str, status: str) -> None:
    assert secured.status(user=user) == status


def test_requests_without_tls_are_refused(secured: Secured) -> None:
    request = ["curl", "--silent", "--max-time", "20", secured.exporter.url]
    response = subprocess.run(request, capture_output=True, text=True, check=True).stdout
    assert response == "Client sent an HTTP request to an HTTPS server.\n"


def test_reload_applies_a_changed_password(secured: Secured) -> None:
    file = secured.folder / "web.yml"
    before = file.read_bytes()
    file.write_bytes(before.replace(b"prometheus:", b"grafana:"))
    assert secured.status("/-/reload", "--request", "POST") == "200"
    assert secured.status(user="grafana:secret") == "200"
    file.write_bytes(before)
    assert secured.status("/-/reload", "--request", "POST", user="grafana:secret") == "200"
    assert secured.status() == "200"


def test_invalid_configuration_is_not_applied_and_logged_with_its_place(secured: Secured) -> None:
    file = secured.folder / "names.yml"
    before = file.read_bytes()
    file.write_bytes(before + b"nonsense: 1\r\n")
    assert secured.status("/-/reload", "--request", "POST") == "500"
    for _ in until("the failure is logged"):
        if "Error reloading configuration" in secured.log():
            break
    assert "nonsense" in secured.log()
    file.write_bytes(before)
    assert secured.status("/-/reload", "--request", "POST") == "200"


def test_ctrl_c_ends_the_exporter_in_order(windows: Windows, tmp_path: Path) -> None:
    with serving(windows, tmp_path / "log") as exporter:
        pass
    assert exporter.process.returncode == 0
    assert "Traceback" not in exporter.log.read_text(encoding="utf-8")


def test_address_in_use_is_an_error(windows: Windows, secured: Secured) -> None:
    address = secured.exporter.url.removeprefix("http://")
    done = windows.python("-m", "exporter", f"--web.listen-address={address}", check=False)
    assert done.returncode == 1
    assert address in done.stderr
    assert "Traceback" not in done.stderr
