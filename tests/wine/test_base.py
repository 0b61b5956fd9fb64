"""Requirements of Windows' Python; the tests marked `wine` install them."""

from __future__ import annotations

import re

import pytest

from .base import ROOT, TEST_PACKAGES, windows_requirements

LOCK = """\
# made by uv
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:00aa \\
    --hash=sha256:11bb
    # via pytest
psutil==7.2.2 \\
    --hash=sha256:22cc
    # via socket-state-exporter (pyproject.toml)
"""


def test_requirements_have_versions_and_hashes_but_no_markers() -> None:
    assert windows_requirements(LOCK) == (
        "colorama==0.4.6 \\\n    --hash=sha256:00aa \\\n    --hash=sha256:11bb\n"
        "psutil==7.2.2 \\\n    --hash=sha256:22cc\n"
    )


def test_only_named_packages_are_required() -> None:
    assert windows_requirements(LOCK, ["psutil"]) == "psutil==7.2.2 \\\n    --hash=sha256:22cc\n"


def test_unknown_package_is_an_error() -> None:
    with pytest.raises(KeyError):
        windows_requirements(LOCK, ["pytest"])


def test_every_package_of_the_lock_is_found() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    names = re.findall(r"^([\w-]+)==", lock, re.MULTILINE)
    assert re.findall(r"^([\w-]+)==", windows_requirements(lock), re.MULTILINE) == names
    development = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    assert windows_requirements(development, TEST_PACKAGES).count("==") == len(TEST_PACKAGES)
