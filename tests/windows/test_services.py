"""Services of Windows by process."""

from __future__ import annotations

from exporter.windows.services import ServiceTable


class Clock:
    """Clock and reader of services that count."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reads = 0

    def read(self) -> dict[int, list[str]]:
        self.reads += 1
        return {7: ["Spooler"], 8: ["mpssvc", "BFE"]}


def test_services_are_read_again_after_ten_seconds_or_for_a_new_process() -> None:
    clock = Clock()
    services = ServiceTable(clock.read, lambda: clock.now)
    assert services.names(7, {7, 8}) == ("Spooler",)
    assert services.names(8, {7, 8}) == ("BFE", "mpssvc")
    assert clock.reads == 1
    assert services.names(9, {7, 8, 9}) == ()
    assert clock.reads == 2
    assert services.names(9, {7, 8, 9}) == ()
    assert clock.reads == 2
    clock.now = 10.0
    services.names(7, {7, 8, 9})
    assert clock.reads == 3


def test_process_that_is_absent_from_the_table_causes_no_further_reads() -> None:
    clock = Clock()
    services = ServiceTable(clock.read, lambda: clock.now)
    services.names(9, {7})
    services.names(9, {7})
    assert clock.reads == 1
