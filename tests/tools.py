"""Programs that tests run, and the Debian packages of those that are missing.

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
    "git": "git",
    "ip": "iproute2",
    "nft": "nftables",
    "openssl": "openssl",
    "podman": "podman",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "promtool": "prometheus",
    "runc": "runc",
    "sha256sum": "coreutils",
    "ss": "iproute2",
    "systemd-analyze": "systemd",
    "zsh": "zsh",
}

_BIG: Final = frozenset({"buildah", "chromium", "debootstrap", "podman", "runc"})
"""Not installed by `make test`: they take hundreds of megabytes, or are used to build such files."""


def missing(*tools: str) -> tuple[str, ...]:
    """Return those of `tools` that are not on the PATH."""
    return tuple(tool for tool in tools if shutil.which(tool) is None)


def require(*tools: str) -> pytest.MarkDecorator:
    """Mark a test, class or module to be skipped if one of `tools` is missing."""
    named = [f"{tool} (Debian package {_PACKAGES[tool]})" for tool in missing(*tools)]
    return pytest.mark.skipif(bool(named), reason=f"needs {', '.join(named)}")


if __name__ == "__main__":
    print(*sorted({_PACKAGES[tool] for tool in missing(*_PACKAGES.keys() - _BIG)}))
