"""The configuration in use: read at the start, and again at every SIGHUP."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from .config import Config, load
from .exposition.families.configuration import Reloaded
from .logs import fields
from .settings_file import ConfigError

log: Final = logging.getLogger(__name__)


class Configuration:
    """Reads the file again and hands it on; when it cannot be used, the old one stays.

    path: of the file, None for the defaults. now: Unix seconds.
    """

    def __init__(self, path: str | None, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self.last = Reloaded(successful=True, at=now())

    def reload(self, use: Callable[[Config], None]) -> None:
        """Reads the file and gives it to `use`. Never raises: the log and `last` tell what is wrong."""
        try:
            use(load(self._path) if self._path else Config())
        except ConfigError as error:
            self.last = self.last._replace(successful=False)
            log.error("Configuration not reloaded, the old one stays", extra=fields(error=error))  # noqa: TRY400
        else:
            self.last = Reloaded(successful=True, at=self._now())
            log.info("Configuration reloaded", extra=fields(file=self._path))
