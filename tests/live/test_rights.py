"""Which rights it takes to see whose the sockets of others are: the unit's two, and neither of them alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ..deploy.units import capabilities
from ..tools import require
from .helpers import scrape
from .namespace import Namespace, missing

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

# Python starts as root, which may read it wherever it lies. Whoever changes user is not to be looked into
# until it says so (PR_SET_DUMPABLE): then it is as if started by that user.
_HOLDER = """
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
def somebody(namespace: Namespace) -> Namespace:
    """A namespace in which a process of another user listens, named printd."""
    if reason := missing("setpriv"):
        pytest.skip(reason)
    program = namespace.popen([sys.executable, "-S", "-c", _HOLDER], cwd=str(Path("/")))
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return namespace


def owners(namespace: Namespace, rights: set[str]) -> set[str]:
    """Whose the listening socket is, for an exporter whose only rights are these."""
    kept = "".join(f",+{right.removeprefix('CAP_').lower()}" for right in sorted(rights))
    through = ["setpriv", f"--bounding-set=-all{kept}", "--inh-caps=-all", "--no-new-privs"]
    told = scrape(namespace, through=through)
    return {process for (process,) in told.by("socket_states", "process", state="listen")}


def test_with_the_rights_of_the_unit_the_owner_is_known(somebody: Namespace) -> None:
    assert owners(somebody, capabilities()) == {"printd"}


@pytest.mark.parametrize("lacking", sorted(capabilities()))
def test_without_either_of_them_it_is_unknown(somebody: Namespace, lacking: str) -> None:
    assert owners(somebody, capabilities() - {lacking}) == {"unknown"}
