"""The statements of SECURITY.md about actions and permissions are true."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.http.limits import DEFAULT_LIMITS
from exporter.rendering.html import PROJECT_URL

from .running import PATIENCE, samples

ROOT = Path(__file__).parent.parent
SECURITY = (ROOT / "SECURITY.md").read_text()

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="needs root and setpriv, to drop capabilities",
)

CAPABILITIES = {
    "none": "",
    "CAP_SYS_PTRACE": ",+sys_ptrace",
    "CAP_DAC_READ_SEARCH": ",+dac_read_search",
    "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH": ",+sys_ptrace,+dac_read_search",
}


def rows(header: str = "capabilities") -> dict[str, list[str]]:
    """Return a table by the header of its first column: first column -> the others."""
    (table,) = re.findall(rf"(?<=\n\n)\| {header} .*?(?=\n\n)", SECURITY, re.DOTALL)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {first: others for first, *others in cells}


def test_capability_table_is_complete() -> None:
    assert rows().keys() == CAPABILITIES.keys()


@pytest.fixture
def listening_port() -> Iterator[int]:
    """Yield the port of a listening socket of root."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@linux
@root
@pytest.mark.parametrize("capabilities", CAPABILITIES)
def test_capabilities_have_the_documented_effect(capabilities: str, listening_port: int) -> None:
    kept = f"-all{CAPABILITIES[capabilities]}"
    drop_privileges = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={kept}"]
    drop_privileges += [f"--ambient-caps={kept}", f"--bounding-set={kept}", "--no-new-privs"]
    # The socket of its own user is that of the program itself.
    program = """
import socket, sys
from exporter import cli
with socket.create_server(("127.0.0.1", 0)) as listener:
    print("#", listener.getsockname()[1])
    sys.exit(cli.main(["--once"]))
"""
    output = subprocess.run(
        [*drop_privileges, sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    own = int(output.split(maxsplit=2)[1])
    exported = samples(output)
    listening = {
        s.labels["local_port"]: s.labels["process"] for s in exported if s.name.endswith("queue_limit")
    }
    assert {str(listening_port), str(own)} <= listening.keys()
    known = ["`unknown`" if listening[str(port)] == "unknown" else "known" for port in (own, listening_port)]
    assert ["all", *known] == rows()[capabilities]


AUDITED = """
import os, signal, sys, threading

out = []
def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, int):
            return
        if (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
            out.append(f"writes {path}")
    elif event.startswith(("subprocess.", "os.exec", "os.posix_spawn", "os.fork", "os.system")):
        out.append(event)
    elif event in ("socket.connect", "socket.sendto", "os.kill", "os.remove", "os.rename", "os.mkdir"):
        out.append(f"{event} {arguments[1:]}")
    elif event == "socket.__new__":
        out.append(f"family {int(arguments[1])}")

from exporter import cli
sys.addaudithook(hook)
status = cli.main(sys.argv[1:])
sys.stderr.flush()
print("\\n".join(sorted(set(out))))
sys.exit(status)
"""

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16


def run_audited(*flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-B", "-c", AUDITED, *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@linux
def test_no_file_written_no_program_started_no_connection_made(tmp_path: Path) -> None:
    names = tmp_path / "names.yml"
    names.write_text("process_names: [{name: '{{.ExeBase}}:{{.Username}}', cmdline: ['.']}]")
    with run_audited("--web.listen-address=127.0.0.1:0", f"--config.file={names}") as process:
        assert process.stdout
        assert process.stderr
        for line in process.stderr:
            if match := re.search(r"address=(\S+)", line):
                break
        assert match
        for path in ("/metrics", "/", "/-/healthy"):
            url = f"http://{match[1]}{path}"
            with urllib.request.urlopen(url, timeout=PATIENCE) as response:  # our own URL
                assert response.status == 200
        process.terminate()
        audited = set(process.stdout.read().splitlines())
        assert process.wait(PATIENCE) == 0
    allowed = {f"family {number}" for number in (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK)}
    assert audited <= allowed
    assert f"family {AF_NETLINK}" in audited


@linux
def test_audit_hook_detects_files_and_programs() -> None:
    broken = AUDITED.replace(
        "status = cli.main(sys.argv[1:])",
        "import subprocess; subprocess.run(['true']); open('/dev/null', 'w'); status = 0",
    )
    result = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True, check=True)
    assert "writes /dev/null" in result.stdout
    assert "subprocess.Popen" in result.stdout


def test_reporting_address_is_that_of_the_project() -> None:
    assert f"{PROJECT_URL}/security/advisories/new" in SECURITY


def test_documented_limits_are_those_of_the_server() -> None:
    limits = {
        "connections": f"{DEFAULT_LIMITS.max_connections}",
        "time to send a request": f"{DEFAULT_LIMITS.request_timeout:g} s",
        "time to receive a response": f"{DEFAULT_LIMITS.write_timeout:g} s",
        "time between two requests": f"{DEFAULT_LIMITS.keep_alive_timeout:g} s",
        "request line and headers": f"{DEFAULT_LIMITS.max_header_bytes / 2**10:g} KiB",
        "request body": f"{DEFAULT_LIMITS.max_body_bytes / 2**20:g} MiB",
        "wait for a collection": f"the scrape timeout, at most {DEFAULT_LIMITS.max_scrape_wait:g} s",
        "password checks": f"{DEFAULT_LIMITS.max_pending_auth}",
    }
    documented = {resource: limit for resource, (limit, _) in rows("resource").items()}
    for resource, limit in limits.items():
        (text,) = [text for name, text in documented.items() if name.startswith(resource)]
        assert re.match(rf"{re.escape(limit)}(?![\w.])", text), resource


def test_documented_libraries_are_the_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split("[<>=]", dependency)[0] for dependency in project["dependencies"]}
    assert {name.lower() for names in rows("library") for name in names.split(", ")} == declared
