"""Order of what is written to standard output."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
from exporter.output import print_bytes, print_text
print("first")
print_bytes(b"second\\n")
print_text("third\\n")
print_bytes(b"fourth\\n")
"""


def test_bytes_follow_the_text_that_was_written_before_them() -> None:
    # Buffered, as where the interpreter is not told otherwise.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert finished.stdout.splitlines() == ["first", "second", "third", "fourth"]
