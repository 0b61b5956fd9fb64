"""A clock that tests set."""

from __future__ import annotations

from ..procfs.conftest import clock as clock
