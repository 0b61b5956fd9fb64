"""The configuration in use, of both files: read at the start, and again when told to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from .config import Config, load
from .exposition.families.configuration import Reloaded
from .exposition.web import Web, from_file
from .log import fields
from .settings_file import ConfigError

log: Final = logging.getLogger(__name__)


class Configuration:
    """Reads the files again and hands them on; when one cannot be used, both old ones stay.

    path, web_path: of the files, None for the defaults. now: Unix seconds.
    """

    def __init__(
        self, path: str | None, web_path: str | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._web_path = web_path
        self._now = now
        self.last = Reloaded(successful=True, at=now())

    def read(self) -> tuple[Config, Web]:
        """What the files say now. Raises ConfigError."""
        return (load(self._path) if self._path else Config()), from_file(self._web_path)

    def reload(self, use: Callable[[Config, Web], None]) -> bool:
        """Reads the files and gives them to `use`. Never raises: the log and `last` tell what is wrong."""
        try:
            use(*self.read())
        except ConfigError as error:
            self.last = self.last._replace(successful=False)
            log.error("Configuration not reloaded, the old one stays", extra=fields(err=error))  # noqa: TRY400
        else:
            self.last = Reloaded(successful=True, at=self._now())
            log.info("Configuration reloaded", extra=fields(file=self._path, web_file=self._web_path))
        return self.last.successful
