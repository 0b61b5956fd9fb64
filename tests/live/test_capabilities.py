"""Sockets of other users have a known owner with both capabilities of the systemd unit, and only then."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ..deploy.units import capabilities
from ..tools import require
from .helpers import scrape
from .namespace import Namespace, missing

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

# Python starts as root, which can read it anywhere. A process that changes its user cannot be inspected until
# it sets PR_SET_DUMPABLE: then it is as if started by that user.
_LISTENER = """
import ctypes, os, socket, sys
listener = socket.create_server(("127.0.0.1", 631))
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
libc = ctypes.CDLL(None)
libc.prctl(4, 1, 0, 0, 0)
libc.prctl(15, b"printd", 0, 0, 0)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_users_listener(namespace: Namespace) -> Namespace:
    """Return a namespace in which a process of another user listens, named printd."""
    if reason := missing("setpriv"):
        pytest.skip(reason)
    program = namespace.popen([sys.executable, "-S", "-c", _LISTENER], cwd=str(Path("/")))
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return namespace


def owners(namespace: Namespace, capabilities_kept: set[str]) -> set[str]:
    """Return the owners of listening sockets as reported with only these capabilities."""
    kept = "".join(f",+{right.removeprefix('CAP_').lower()}" for right in sorted(capabilities_kept))
    through = ["setpriv", f"--bounding-set=-all{kept}", "--inh-caps=-all", "--no-new-privs"]
    reported = scrape(namespace, through=through)
    return {process for (process,) in reported.by("socket_states", "process", state="listen")}


def test_owner_is_known_with_the_capabilities_of_the_unit(other_users_listener: Namespace) -> None:
    assert owners(other_users_listener, capabilities()) == {"printd"}


@pytest.mark.parametrize("missing_capability", sorted(capabilities()))
def test_owner_is_unknown_without_either_capability(
    other_users_listener: Namespace, missing_capability: str
) -> None:
    assert owners(other_users_listener, capabilities() - {missing_capability}) == {"unknown"}
