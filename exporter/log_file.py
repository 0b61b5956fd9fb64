"""A log file of bounded size, for systems where no program collects standard error."""

from __future__ import annotations

from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

MAX_LOG_FILE_BYTES: Final = 5 * 1024 * 1024
"""Size at which a new file is begun."""
PREVIOUS_LOG_FILES: Final = 4
"""Number of files with earlier lines that are kept: FILE.1 to FILE.4."""


class LogFileHandler(RotatingFileHandler):
    """Appends lines to a file, which is created with its directory. Raises OSError.

    FILE is renamed to FILE.1 when it is full.
    """

    def __init__(
        self, path: Path, max_bytes: int = MAX_LOG_FILE_BYTES, previous_files: int = PREVIOUS_LOG_FILES
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(
            path,
            maxBytes=max_bytes,
            backupCount=previous_files,
            encoding="utf-8",
            errors="backslashreplace",
        )

    def doRollover(self) -> None:  # noqa: N802  # logging's name
        """Begin a new file. If the full one cannot be renamed, its lines are deleted: its size is bounded.

        Windows does not rename a file that another program has open.
        """
        try:
            super().doRollover()
        except OSError:
            if self.stream:
                self.stream.close()
            Path(self.baseFilename).write_bytes(b"")
            self.stream = self._open()
