"""What the demo shows: a leak grows, its alert arrives, the leak is mended, and that arrives, too."""

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
"""Ten are older than ten seconds after fifteen. Bounded, so that no other alert comes to who takes long."""
_CHURN: Final = {"per_second": 30, "keep": 3, "count": 1 << 30}
_EVERY: Final = 5.0
_LAST_WORDS: Final = 4.0
"""A ticket that the page had silenced is told of a moment later."""

_NONE: Final = "0 * sum(socket_host_states)"
"""Zero, but nothing where the exporter was not scraped."""
_PILES: Final = {
    "leaky has {:.0f} in CLOSE_WAIT": f'sum(socket_close_wait_sockets{{process="leaky"}}) or {_NONE}',
    "the oldest for {:.0f} s": 'socket_close_wait_oldest_age_seconds{process="leaky"}',
    "churny has left {:.0f} in TIME_WAIT": (
        f'sum(socket_states{{process="churny", state="time_wait"}}) or {_NONE}'
    ),
}


class Patience(Protocol):
    """What tells when leaky is to be mended."""

    request: str

    def begin(self) -> None:
        """The alert is there."""

    def is_over(self) -> bool:
        """Whether it is time."""


class Story:
    """One run of it. Prints a line whenever there is something to say."""

    def __init__(self, watch: Monitoring, patience: Patience) -> None:
        self._watch = watch
        self._patience = patience
        self._began = time.monotonic()
        self._shown = 0
        self._next_piles = self._began + _EVERY

    def tell(self) -> None:
        """All of it."""
        self._introduce()
        self._start()
        self._wait_until_it_fires()
        self._wait_for_the_reader()
        self._mend()

    def _introduce(self) -> None:
        watch = self._watch
        alerts = next(
            (page for page in ("/alerts", "/classic/alerts") if answers(watch.prometheus + page)), "/alerts"
        )
        graph = urlencode({"g0.expr": "sum by (process, state) (socket_states)", "g0.range_input": "5m"})
        print(
            f"""\
Exporter, Prometheus and Alertmanager run on 127.0.0.1, with the rules of deploy/ and shorter intervals.

  what is wrong, in words   {watch.exporter}/
  metrics                   {watch.exporter}/metrics
  alerts                    {watch.prometheus}{alerts}
  sockets over time         {watch.prometheus}/graph?{graph}&g0.tab=0
  Alertmanager              {watch.alertmanager}/
  in a terminal             amtool alert --alertmanager.url={watch.alertmanager}

Two programs misbehave:
  leaky    never closes what its callers on port {watch.ports.leaky} have closed: CLOSE_WAIT
  churny   calls port {watch.ports.tidy} {_CHURN["per_second"]} times a second and closes each time: TIME_WAIT
"""
        )

    def _start(self) -> None:
        ports = self._watch.ports
        self._watch.start_service("leaky", ports.leaky, keeps=True)
        self._watch.start_service("tidy", ports.tidy, keeps=False)
        self._watch.start_caller("visitor", ports.leaky, **_LEAK)
        self._watch.start_caller("churny", ports.tidy, **_CHURN)
        self._began = time.monotonic()
        self._say("both have begun; CloseWaitStuck opens a ticket in about 25 s, and pages after a minute")

    def _wait_until_it_fires(self) -> None:
        for _ in self._watch.until("CloseWaitStuck fires for leaky", FIRES_WITHIN):
            self._look()
            if self._stands("firing"):
                return

    def _wait_for_the_reader(self) -> None:
        self._say(self._patience.request)
        self._patience.begin()
        for _ in self._watch.until("leaky is to be mended", math.inf):
            self._look()
            if self._patience.is_over():
                return

    def _mend(self) -> None:
        self._watch.mend("leaky")
        self._say("leaky is mended: it has closed all that it kept")
        for _ in self._watch.until("CloseWaitStuck is resolved for leaky", RESOLVES_WITHIN):
            self._look()
            if self._stands("resolved"):
                break
        end = time.monotonic() + _LAST_WORDS
        while time.monotonic() < end:
            self._look()
            time.sleep(0.1)

    def _look(self) -> None:
        """Shows what is new: notices, and now and then how the piles grow."""
        for notice in self._watch.receiver.notices[self._shown :]:
            self._shown += 1
            self._show(notice)
        if time.monotonic() >= self._next_piles:
            self._next_piles += _EVERY
            piles = [(text, self._watch.query(expression)) for text, expression in _PILES.items()]
            if known := [text.format(value) for text, value in piles if value is not None]:
                self._say(", ".join(known))

    def _stands(self, status: str) -> bool:
        """Whether the last that was told of leaky is this."""
        told = [
            notice.status
            for notice in self._watch.receiver.notices[: self._shown]
            if (notice.labels["alertname"], notice.labels.get("process")) == ("CloseWaitStuck", "leaky")
        ]
        return told[-1:] == [status]

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
