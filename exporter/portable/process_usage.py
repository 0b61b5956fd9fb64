"""Resource usage of the exporter's own process from psutil, for systems without /proc."""

from __future__ import annotations

import psutil

from ..model.process import ProcessUsage


def read_own_usage() -> ProcessUsage:
    """Return the resource usage of this process. Raises OSError."""
    try:
        process = psutil.Process()
        cpu, memory = process.cpu_times(), process.memory_info()
        # Windows has handles instead of file descriptors.
        count_handles = getattr(process, "num_handles", None) or process.num_fds
        return ProcessUsage(
            cpu_seconds=cpu.user + cpu.system,
            resident_bytes=memory.rss,
            virtual_bytes=memory.vms,
            start_time=process.create_time(),
            open_fds=count_handles(),
        )
    except psutil.Error as error:
        raise OSError(repr(error)) from error
