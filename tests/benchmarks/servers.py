"""Exporters under measurement: started, scraped over HTTP, their time and memory read, stopped."""

from __future__ import annotations

import gzip
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from .measurement import Measurement
from .programs import NODE_EXPORTER

# Below the ephemeral ports, which the load takes, and other than its services.
EXPORTER_PORT: Final = 900
NODE_EXPORTER_PORT: Final = 901
COLD_EXPORTER_PORT: Final = 902

_PATIENCE: Final = 60.0
_ASKED_EVERY: Final = 0.002
_KIBIBYTE: Final = 1024


class Memory(NamedTuple):
    """Resident bytes of a process: now, and at most so far."""

    now: int
    peak: int


class Server:
    """A running exporter with one connection to it, as a context manager. `started` is when, by the
    monotonic clock; it listens when it is entered."""

    def __init__(self, command: list[str], port: int) -> None:
        self._command = command
        self._port = port
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed when it is stopped
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)

    def __enter__(self) -> Self:
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            self._command, stdout=self._log, stderr=self._log, cwd=os.sep, process_group=0
        )
        try:
            self._connect()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def scrape(self) -> Measurement:
        """One scrape over the open connection, compressed, as Prometheus does it."""
        start, cpu = time.perf_counter(), self._cpu_seconds()
        self._get()
        seconds = time.perf_counter() - start
        return Measurement(seconds, self._cpu_seconds() - cpu, self.memory().now)

    def counted(self, metric: str) -> int:
        """The sum over all series of a gauge, in a further scrape."""
        text = gzip.decompress(self._get()).decode()
        values = re.findall(rf"^{metric}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return round(sum(map(float, values)))

    def memory(self) -> Memory:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        now, peak = (re.search(rf"^{key}:\s*(\d+) kB$", status, re.MULTILINE) for key in ("VmRSS", "VmHWM"))
        assert now is not None
        assert peak is not None
        return Memory(int(now[1]) * _KIBIBYTE, int(peak[1]) * _KIBIBYTE)

    def _get(self) -> bytes:
        self._connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK or answer.getheader("Content-Encoding") != "gzip":
            raise RuntimeError(f"{self._command} answered {answer.status} {answer.getheaders()}")
        return body

    def _cpu_seconds(self) -> float:
        """What all its threads used so far: the CPU clock of another process (clock_getcpuclockid(3)), as
        /proc/PID/stat counts in hundredths of a second only, more than a scrape takes."""
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def _connect(self) -> None:
        deadline = self.started + _PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self._connection.connect()
            except ConnectionRefusedError:
                time.sleep(_ASKED_EVERY)
            else:
                return
        raise RuntimeError(f"{self._command} does not listen: {self._said()}")

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _stop(self) -> None:
        self._connection.close()
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def exporter(port: int = EXPORTER_PORT) -> Server:
    """This exporter, as it is by default."""
    return Server([sys.executable, "-m", "exporter", f"--web.listen-address=127.0.0.1:{port}"], port)


def node_exporter(port: int = NODE_EXPORTER_PORT) -> Server:
    """node_exporter with no collector but that of TCP states."""
    flags = (
        "--collector.disable-defaults",
        "--collector.tcpstat",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    return Server([NODE_EXPORTER, *flags], port)
