"""The command `socket-state-exporter`, and `python -m exporter`.

Imports little itself: a Windows service answers the service manager before the other modules are imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .output import describe_import_error, use_utf8


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit status; it is 1 if a library cannot be loaded.

    arguments: command line without the program's name; that of this process by default.
    """
    command_line = sys.argv[1:] if arguments is None else arguments
    use_utf8()
    try:
        if list(command_line[:1]) == ["service"]:
            from .service import run_service_command

            return run_service_command(command_line[1:])
        return _run_command(command_line)
    except ImportError as error:
        # Such as a DLL that this host lacks: a traceback would name Python's modules only.
        print(f"socket-state-exporter: {describe_import_error(error)}", file=sys.stderr)
        return 1


def _run_command(command_line: Sequence[str]) -> int:
    from . import cli

    if sys.platform == "win32":
        from .windows.console import stop_when_closed

        with stop_when_closed() as stop:
            return cli.main(command_line, stop)
    return cli.main(command_line)


if __name__ == "__main__":
    sys.exit(main())
