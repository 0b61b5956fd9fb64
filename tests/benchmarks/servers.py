"""Starts, scrapes and stops exporters, and measures their time and memory."""

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

# Below the ephemeral ports, and different from the services of the load.
EXPORTER_PORT: Final = 900
NODE_EXPORTER_PORT: Final = 901
COLD_EXPORTER_PORT: Final = 902

_TIMEOUT_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.002
_KIBIBYTE: Final = 1024


class Memory(NamedTuple):
    """Resident bytes of a process: current and peak."""

    now: int
    peak: int


class Server:
    """A running exporter with one connection; a context manager, entered when the exporter listens.

    `started` is its start time by the monotonic clock.
    """

    def __init__(self, command: list[str], port: int) -> None:
        self._command = command
        self._port = port
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed when it is stopped
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)

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
        """Scrape over the open connection with gzip, like Prometheus."""
        start, cpu = time.perf_counter(), self._cpu_seconds()
        self._get()
        seconds = time.perf_counter() - start
        return Measurement(seconds, self._cpu_seconds() - cpu, self.memory().now)

    def sum_of(self, metric: str) -> int:
        """Return the sum over all series of a gauge, from another scrape."""
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
        """Return the CPU time of all its threads, from the CPU clock of the process (clock_getcpuclockid(3)).

        /proc/PID/stat has a resolution of 10 ms only, more than a scrape takes.
        """
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def _connect(self) -> None:
        deadline = self.started + _TIMEOUT_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self._connection.connect()
            except ConnectionRefusedError:
                time.sleep(_POLL_SECONDS)
            else:
                return
        raise RuntimeError(f"{self._command} does not listen: {self._output()}")

    def _output(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _stop(self) -> None:
        self._connection.close()
        self._process.terminate()
        try:
            self._process.wait(_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def exporter(port: int = EXPORTER_PORT) -> Server:
    """Return this exporter with default flags."""
    return Server([sys.executable, "-m", "exporter", f"--web.listen-address=127.0.0.1:{port}"], port)


def node_exporter(port: int = NODE_EXPORTER_PORT) -> Server:
    """Return node_exporter with the tcpstat collector only."""
    flags = (
        "--collector.disable-defaults",
        "--collector.tcpstat",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    return Server([NODE_EXPORTER, *flags], port)
