"""The script that the service manager starts. It finds the packages next to this one, and serves.

It is started by its path: the interpreter that a virtual environment is based on then finds the packages of
that environment.
"""

import runpy
import site
import sys
from pathlib import Path

if __name__ == "__main__":
    # Packages of the installation that this file is part of, and those that its .pth files name.
    site.addsitedir(str(Path(__file__).parents[2]))
    sys.argv[1:1] = ["service", "run"]
    runpy.run_module("exporter", run_name="__main__", alter_sys=True)
