"""TCP limits of Windows: the dynamic port range, and the duration of TIME_WAIT where it is set."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..log import LogOnChange
from ..model.host import SysctlLimits
from .dynamic_ports import DEFAULT_RANGE, DynamicPortReader
from .registry import TcpParameters, read_registry


class WindowsLimitsReader:
    """Reads the limits. Logs impossible values of the registry once."""

    def __init__(
        self,
        dynamic_ports: DynamicPortReader,
        read_parameters: Callable[[], TcpParameters] = read_registry,
    ) -> None:
        self._dynamic_ports = dynamic_ports
        self._read_parameters = read_parameters
        self._log = LogOnChange(logging.getLogger(__name__))

    def read(self) -> SysctlLimits:
        """Return the limits. Raises OSError if the registry is unreadable.

        The duration of TIME_WAIT is None unless the registry sets it: its default depends on the release, and
        its documentation is contradictory. The range is that of IPv4.
        """
        parameters = self._read_parameters()
        if parameters.problems:
            self._log.failing(
                "registry", "Ignoring impossible registry values", problems="; ".join(parameters.problems)
            )
        else:
            self._log.recovered("registry", "Registry values are possible again")
        ranges = self._dynamic_ports.ranges()
        delay = parameters.time_wait_seconds
        return SysctlLimits(
            time_wait_seconds=None if delay is None else float(delay),
            ephemeral=ranges.get("ipv4") or ranges.get("ipv6") or DEFAULT_RANGE,
            ephemeral_is_assumed=not ranges,
            max_user_port=parameters.max_user_port,
        )
