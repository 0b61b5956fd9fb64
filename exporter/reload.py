"""Loading and reloading of both configuration files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from .config.exporter_config import Config, load_exporter_config
from .config.strict_yaml import ConfigError
from .http.middleware import WebConfig
from .log import fields
from .model.reload_status import ReloadStatus

logger: Final = logging.getLogger(__name__)


class ConfigReloader:
    """Loads the configuration files and applies them; if one is invalid, the previous two stay in use.

    path, web_path: the files, None for the defaults. now: Unix seconds.
    """

    def __init__(
        self, path: str | None, web_path: str | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._web_path = web_path
        self._now = now
        self.status = ReloadStatus(success=True, timestamp=now())

    def read(self) -> tuple[Config, WebConfig]:
        """Return the configuration in the files. Raises ConfigError."""
        return (load_exporter_config(self._path) if self._path else Config()), WebConfig.from_file(
            self._web_path
        )

    def reload(self, apply: Callable[[Config, WebConfig], None]) -> bool:
        """Read the files, pass the configuration to `apply`, and return whether that succeeded.

        Never raises ConfigError: it is logged, and `status` updated.
        """
        try:
            apply(*self.read())
        except ConfigError as error:
            self.status = self.status._replace(success=False)
            logger.error("Error reloading configuration, keeping the previous one", extra=fields(err=error))  # noqa: TRY400  # no stacktrace: it is no bug
        else:
            self.status = ReloadStatus(success=True, timestamp=self._now())
            logger.info("Configuration reloaded", extra=fields(file=self._path, web_file=self._web_path))
        return self.status.success
