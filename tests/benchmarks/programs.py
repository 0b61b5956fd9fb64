"""The programs that the benchmark needs, and which Debian packages bring those that are missing.

`python -m tests.benchmarks.programs` prints the packages, for `make bench` to install where it may.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

NODE_EXPORTER: Final = "prometheus-node-exporter"

PACKAGES: Final = {
    "cc": ("gcc", "libc6-dev"),
    NODE_EXPORTER: (NODE_EXPORTER,),
    "ss": ("iproute2",),
}
"""Program -> the Debian packages it needs."""

_VERSION_FLAGS: Final = {"cc": "--version", NODE_EXPORTER: "--version", "ss": "-V"}
_HERE: Final = Path(__file__).parent


def why_missing(program: str) -> str | None:
    """In words, for the row that stays empty; None where the program is there."""
    if shutil.which(program):
        return None
    return f"{program} is missing (Debian: {' '.join(PACKAGES[program])})"


@cache
def compiled(name: str) -> str | None:
    """The path of `name`.c as a program, gone with this process; None without a C compiler."""
    if why_missing("cc"):
        return None
    program = Path(_folder().name) / name
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", program, _HERE / f"{name}.c"], check=True)
    return str(program)


def version(program: str) -> str | None:
    """The number that a program calls its version; None where it is missing."""
    if why_missing(program):
        return None
    done = subprocess.run([program, _VERSION_FLAGS[program]], capture_output=True, text=True, check=True)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else None


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="benchmark-")


if __name__ == "__main__":
    print(*[package for program in PACKAGES if why_missing(program) for package in PACKAGES[program]])
