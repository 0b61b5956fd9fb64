"""States that the service reports to the service manager."""

from __future__ import annotations

from typing import Any

from exporter.windows.service_host import STOP_WAIT_SECONDS, ServiceHost

START_PENDING, STOP_PENDING, RUNNING, STOPPED = 2, 3, 4, 1
STOP, INTERROGATE, PAUSE, SHUTDOWN = 1, 4, 2, 5


class Manager:
    """Service manager that records what it is told, and the calls between."""

    def __init__(self, exit_status: int = 0) -> None:
        self.events: list[object] = []
        self._exit_status = exit_status
        self.host = ServiceHost("name", self._work, lambda: self.events.append("stop"), self._report)

    def _work(self) -> int:
        self.events.append("work")
        return self._exit_status

    def _report(self, status: Any) -> None:
        self.events.append(
            (status.state, status.accepted_controls, status.exit_code, status.specific_exit_code)
        )


def test_service_is_pending_then_running_before_its_work_begins() -> None:
    manager = Manager()
    manager.host.serve()
    assert manager.events == [(START_PENDING, 0, 0, 0), (RUNNING, 5, 0, 0), "work", (STOPPED, 0, 0, 0)]
    assert manager.host.exit_status == 0


def test_exit_status_is_reported_as_a_failure() -> None:
    manager = Manager(exit_status=2)
    manager.host.serve()
    assert manager.events[-1] == (STOPPED, 0, 1066, 2)


def test_stop_and_shutdown_stop_the_work() -> None:
    for control in (STOP, SHUTDOWN):
        manager = Manager()
        assert manager.host.handle_control(control) == 0
        assert manager.events == [(STOP_PENDING, 0, 0, 0), "stop"]


def test_other_controls_do_nothing() -> None:
    manager = Manager()
    assert manager.host.handle_control(INTERROGATE) == 0
    assert manager.host.handle_control(PAUSE) == 120
    assert manager.events == []


def test_service_may_take_longer_to_stop_than_the_server() -> None:
    assert STOP_WAIT_SECONDS > 15
