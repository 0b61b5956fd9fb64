"""Exporter, Prometheus and Alertmanager, started with the rules of deploy/, and a webhook receiver."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from ..running import COMMAND, until
from . import configuration
from .ports import HOME, Ports
from .programs import Programs
from .receiver import Notice, Receiver

CHECKOUT: Final = Path(__file__).parents[2]

_STARTS_WITHIN: Final = 30.0
_ANSWERS_WITHIN: Final = 5.0

# Ignores proxies in the environment: they cannot reach this host's loopback.
_OPEN: Final = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Monitoring:
    """The running programs; see monitoring()."""

    def __init__(self, programs: Programs, receiver: Receiver, ports: Ports) -> None:
        self.programs = programs
        self.receiver = receiver
        self.ports = ports

    @property
    def exporter(self) -> str:
        return f"http://{HOME}:{self.ports.exporter}"

    @property
    def prometheus(self) -> str:
        return f"http://{HOME}:{self.ports.prometheus}"

    @property
    def alertmanager(self) -> str:
        return f"http://{HOME}:{self.ports.alertmanager}"

    def start_service(self, name: str, port: int, *, keeps: bool) -> None:
        """Start a service that leaks connections closed by its clients (`keeps`), or closes them."""
        arguments = (name, str(port), "keeps" if keeps else "closes")
        self.programs.start(name, _module("service", *arguments), CHECKOUT)
        for _ in self.until(f"{name} listens", _STARTS_WITHIN):
            if "ready" in self.programs.output(name):
                return

    def start_client(self, name: str, port: int, *, per_second: int, keep: int, count: int) -> None:
        """Start a client that opens `count` connections and keeps the last `keep` of them open."""
        arguments = (name, str(port), str(per_second), str(keep), str(count))
        self.programs.start(name, _module("client", *arguments), CHECKOUT)

    def fix(self, name: str) -> None:
        """Make a service or client close its connections."""
        self.programs.tell(name, "fix")

    def wait_for_scrape(self) -> None:
        """Wait until Prometheus has scraped the exporter, which takes some seconds after its start."""
        for _ in self.until("Prometheus has scraped the exporter", _STARTS_WITHIN):
            if self.query("socket_exporter_build_info"):
                return

    def query(self, expression: str) -> float | None:
        """Return the value of an expression with one series; None if it has no result."""
        try:
            answer = ask(f"{self.prometheus}/api/v1/query?{urlencode({'query': expression})}")
        except OSError:
            return None
        found = answer["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    def wait_for_notice(self, status: str, within: float, since: float = 0.0, **labels: str) -> Notice:
        """Wait for and return the first notice of an alert with this status and these labels."""
        for _ in self.until(f"the receiver is notified that {labels} is {status}", within):
            for notice in self.receiver.notices:
                if (
                    notice.status == status
                    and notice.when >= since
                    and labels.items() <= notice.labels.items()
                ):
                    return notice
        raise AssertionError

    def until(self, what: str, within: float) -> Iterator[None]:
        """Yield until the caller stops iterating. Raises TimeoutError with the diagnostics."""
        try:
            for _ in until(what, within):
                if ended := self.programs.ended():
                    raise TimeoutError(f"{', '.join(ended)} ended before {what}")
                yield
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.diagnostics()}") from None

    def diagnostics(self) -> str:
        """Return the state of Prometheus, Alertmanager and the receiver, and the ends of the logs."""
        return "\n".join(
            (
                f"--- alerts in Prometheus: {_fetch_or_error(f'{self.prometheus}/api/v1/alerts')}",
                f"--- its targets: {_fetch_or_error(f'{self.prometheus}/api/v1/targets?state=active')}",
                f"--- alerts in Alertmanager: {_fetch_or_error(f'{self.alertmanager}/api/v2/alerts')}",
                "--- notices received:",
                *map(str, self.receiver.notices),
                self.programs.diagnostics(),
            )
        )


@contextmanager
def monitoring(
    folder: Path, ports: Ports, *flags: str, targets: configuration.Targets = MappingProxyType({})
) -> Iterator[Monitoring]:
    """Start all programs with their files in `folder`, wait until they are ready, and stop them at the end.

    flags: flags of the exporter.
    targets: what else Prometheus scrapes.
    """
    configuration.write(folder, ports, targets)
    with Receiver(ports.receiver) as receiver, Programs(folder / "logs") as programs:
        started = Monitoring(programs, receiver, ports)
        programs.start("exporter", [*COMMAND, f"--web.listen-address={HOME}:{ports.exporter}", *flags])
        programs.start("prometheus", _prometheus(folder, ports))
        programs.start("alertmanager", _alertmanager(folder, ports))
        for address in (started.exporter, started.prometheus, started.alertmanager):
            for _ in started.until(f"{address} is ready", _STARTS_WITHIN):
                if answers(f"{address}/-/ready"):
                    break
        yield started


def alertmanager_program() -> str | None:
    """Return the path of Alertmanager, which has another name on Debian, or None."""
    return shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


def answers(url: str) -> bool:
    """Return whether a request to the URL succeeds."""
    try:
        with _OPEN(url, timeout=_ANSWERS_WITHIN):
            return True
    except OSError:
        return False


def _prometheus(folder: Path, ports: Ports) -> list[str]:
    return [
        "prometheus",
        f"--config.file={folder / configuration.PROMETHEUS.name}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={HOME}:{ports.prometheus}",
        "--log.level=warn",
    ]


def _alertmanager(folder: Path, ports: Ports) -> list[str]:
    return [
        alertmanager_program() or "prometheus-alertmanager",
        f"--config.file={folder / configuration.ALERTMANAGER.name}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={HOME}:{ports.alertmanager}",
        "--cluster.listen-address=",  # no other one to find
        "--log.level=warn",
    ]


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"{__package__}.{name}", *arguments]


def ask(url: str) -> Any:
    """Return the JSON answer of a URL."""
    with _OPEN(url, timeout=_ANSWERS_WITHIN) as answer:
        return json.load(answer)


def _fetch_or_error(url: str) -> str:
    try:
        return json.dumps(ask(url), indent=1)
    except (OSError, ValueError) as error:
        return f"no answer ({error})"
