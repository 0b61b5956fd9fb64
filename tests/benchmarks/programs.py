"""The programs that the benchmark runs, and the Debian packages of those that are missing.

`python -m tests.benchmarks.programs` prints the packages, for `make bench` to install.
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
"""Program -> Debian packages."""

_VERSION_FLAGS: Final = {"cc": "--version", NODE_EXPORTER: "--version", "ss": "-V"}
_HERE: Final = Path(__file__).parent


def missing_reason(program: str) -> str | None:
    """Return why a program is not available; None if it is."""
    if shutil.which(program):
        return None
    return f"{program} is missing (Debian: {' '.join(PACKAGES[program])})"


@cache
def compile_c(name: str) -> str | None:
    """Compile `name`.c; return the path of the program, deleted at exit, or None without a C compiler."""
    if missing_reason("cc"):
        return None
    program = Path(_folder().name) / name
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", program, _HERE / f"{name}.c"], check=True)
    return str(program)


def version(program: str) -> str | None:
    """Return the version of a program; None if it is missing."""
    if missing_reason(program):
        return None
    done = subprocess.run([program, _VERSION_FLAGS[program]], capture_output=True, text=True, check=True)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else None


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="benchmark-")


if __name__ == "__main__":
    print(*[package for program in PACKAGES if missing_reason(program) for package in PACKAGES[program]])
