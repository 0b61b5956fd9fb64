"""The demo: a leak grows, its alert fires, the leak is fixed, and the alert resolves."""

from __future__ import annotations

import math
import textwrap
import time
from typing import Final, Protocol
from urllib.parse import urlencode

from .monitoring import Monitoring, answers
from .receiver import Notice

FIRES_WITHIN: Final = 120.0
RESOLVES_WITHIN: Final = 60.0

_LEAK: Final = {"per_second": 2, "keep": 0, "count": 300}
"""After 15 s ten connections are older than 10 s. Limited, so that no other alert fires later."""
_CHURN: Final = {"per_second": 30, "keep": 3, "count": 1 << 30}
_EVERY: Final = 5.0
_FINAL_SECONDS: Final = 4.0
"""A ticket that was inhibited by a page is sent a moment later."""

_NONE: Final = "0 * sum(socket_host_states)"
"""Zero, or no result if the exporter was not scraped."""
_PROGRESS: Final = {
    "leaky has {:.0f} in CLOSE_WAIT": f'sum(socket_close_wait_sockets{{process="leaky"}}) or {_NONE}',
    "the oldest for {:.0f} s": 'socket_close_wait_oldest_age_seconds{process="leaky"}',
    "churny has left {:.0f} in TIME_WAIT": (
        f'sum(socket_states{{process="churny", state="time_wait"}}) or {_NONE}'
    ),
}


class Trigger(Protocol):
    """Decides when to fix leaky."""

    request: str

    def begin(self) -> None:
        """Start waiting: the alert has fired."""

    def is_over(self) -> bool:
        """Return whether to fix leaky now."""


class DemoRun:
    """One run of the demo. Prints a line for each event."""

    def __init__(self, watch: Monitoring, patience: Trigger) -> None:
        self._watch = watch
        self._trigger = patience
        self._began = time.monotonic()
        self._shown = 0
        self._next_progress = self._began + _EVERY

    def run(self) -> None:
        """Run the whole demo."""
        self._introduce()
        self._start()
        self._wait_until_it_fires()
        self._wait_for_the_reader()
        self._fix()

    def _introduce(self) -> None:
        watch = self._watch
        alerts = next(
            (page for page in ("/alerts", "/classic/alerts") if answers(watch.prometheus + page)), "/alerts"
        )
        graph = urlencode({"g0.expr": "sum by (process, state) (socket_states)", "g0.range_input": "5m"})
        print(
            f"""\
Exporter, Prometheus and Alertmanager run on 127.0.0.1, with the rules of deploy/ and shorter intervals.

  status page               {watch.exporter}/
  metrics                   {watch.exporter}/metrics
  alerts                    {watch.prometheus}{alerts}
  sockets over time         {watch.prometheus}/graph?{graph}&g0.tab=0
  Alertmanager              {watch.alertmanager}/
  in a terminal             amtool alert --alertmanager.url={watch.alertmanager}

Two programs cause problems:
  leaky    never closes connections that its clients on port {watch.ports.leaky} have closed: CLOSE_WAIT
  churny   opens and closes {_CHURN["per_second"]} connections a second to port {watch.ports.tidy}: TIME_WAIT
"""
        )

    def _start(self) -> None:
        ports = self._watch.ports
        self._watch.start_service("leaky", ports.leaky, keeps=True)
        self._watch.start_service("tidy", ports.tidy, keeps=False)
        self._watch.start_client("visitor", ports.leaky, **_LEAK)
        self._watch.start_client("churny", ports.tidy, **_CHURN)
        self._began = time.monotonic()
        self._say("both are running; CloseWaitStuck opens a ticket in about 25 s, and pages after a minute")

    def _wait_until_it_fires(self) -> None:
        for _ in self._watch.until("CloseWaitStuck fires for leaky", FIRES_WITHIN):
            self._look()
            if self._stands("firing"):
                return

    def _wait_for_the_reader(self) -> None:
        self._say(self._trigger.request)
        self._trigger.begin()
        for _ in self._watch.until("it is time to fix leaky", math.inf):
            self._look()
            if self._trigger.is_over():
                return

    def _fix(self) -> None:
        self._watch.fix("leaky")
        self._say("leaky is fixed: it has closed its connections")
        for _ in self._watch.until("CloseWaitStuck is resolved for leaky", RESOLVES_WITHIN):
            self._look()
            if self._stands("resolved"):
                break
        end = time.monotonic() + _FINAL_SECONDS
        while time.monotonic() < end:
            self._look()
            time.sleep(0.1)

    def _look(self) -> None:
        """Print new notices, and every few seconds the numbers of sockets."""
        for notice in self._watch.receiver.notices[self._shown :]:
            self._shown += 1
            self._show(notice)
        if time.monotonic() >= self._next_progress:
            self._next_progress += _EVERY
            progress = [(text, self._watch.query(expression)) for text, expression in _PROGRESS.items()]
            if known := [text.format(value) for text, value in progress if value is not None]:
                self._say(", ".join(known))

    def _stands(self, status: str) -> bool:
        """Return whether the last notice about leaky has this status."""
        result = [
            notice.status
            for notice in self._watch.receiver.notices[: self._shown]
            if (notice.labels["alertname"], notice.labels.get("process")) == ("CloseWaitStuck", "leaky")
        ]
        return result[-1:] == [status]

    def _show(self, notice: Notice) -> None:
        labels = notice.labels
        whose = labels.get("process") or labels["instance"]
        kind = {"pages": "PAGE", "tickets": "TICKET"}.get(notice.receiver, notice.receiver)
        self._say(f"{kind} {notice.status}: {labels['alertname']} ({labels['severity']}) of {whose}")
        if notice.status == "firing":
            print(textwrap.indent(textwrap.fill(notice.annotations["description"], 100), " " * 8), flush=True)

    def _say(self, text: str) -> None:
        passed = int(time.monotonic() - self._began)
        print(f"{passed // 60:3}:{passed % 60:02}  {text}", flush=True)
