"""Privilege of the exporter on systems other than Linux."""

from __future__ import annotations

import os
import sys

from ..model.privilege import Privilege


def read_user_privilege() -> Privilege:
    """Return FULL for an administrator (Windows) or root, otherwise NONE."""
    if sys.platform == "win32":
        # Imported here because ctypes takes 1 MiB.
        from ctypes import windll

        return Privilege.FULL if windll.shell32.IsUserAnAdmin() else Privilege.NONE
    else:  # noqa: RET505  # mypy follows the platform through else only
        return Privilege.FULL if os.geteuid() == 0 else Privilege.NONE
