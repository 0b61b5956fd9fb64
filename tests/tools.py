"""Programs that tests call: what is missing here, and which Debian package brings it.

`python tests/tools.py` prints the missing packages, for `make test` to install where it may; what is big
is left to `make test-browser` and `make image-test`.
"""

from __future__ import annotations

import shutil
from typing import Final

import pytest

_PACKAGES: Final = {
    "amtool": "prometheus-alertmanager",
    "buildah": "buildah",
    "chromium": "chromium",
    "curl": "curl",
    "debootstrap": "debootstrap",
    "fish": "fish",
    "ip": "iproute2",
    "nft": "nftables",
    "openssl": "openssl",
    "podman": "podman",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "promtool": "prometheus",
    "runc": "runc",
    "ss": "iproute2",
    "systemd-analyze": "systemd",
    "zsh": "zsh",
}

_BIG: Final = frozenset({"buildah", "chromium", "debootstrap", "podman", "runc"})
"""Hundreds of megabytes, or used to make such: nobody who runs `make test` expects that."""


def missing(*tools: str) -> tuple[str, ...]:
    """Those of `tools` that are not on the PATH."""
    return tuple(tool for tool in tools if shutil.which(tool) is None)


def require(*tools: str) -> pytest.MarkDecorator:
    """Marks a test, class or module to be skipped where one of `tools` is missing."""
    named = [f"{tool} (Debian package {_PACKAGES[tool]})" for tool in missing(*tools)]
    return pytest.mark.skipif(bool(named), reason=f"needs {', '.join(named)}")


if __name__ == "__main__":
    print(*sorted({_PACKAGES[tool] for tool in missing(*_PACKAGES.keys() - _BIG)}))
