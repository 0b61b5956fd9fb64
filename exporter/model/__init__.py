"""Plain values that every layer shares. Imports nothing of ours, asks nobody anything."""

from .close_wait import (
    Cause,
    ClassifiedCloseWait,
)
from .groups import (
    Attribution,
    Direction,
    Group,
    Path,
)
from .limits import (
    Descriptors,
    EphemeralRange,
    KernelCounters,
    Limits,
)
from .owners import (
    UNKNOWN_PROCESS,
    Owner,
    Process,
    ProcessId,
    Unowned,
)
from .rows import (
    made_from,
)
from .sockets import (
    CLOSE,
    CLOSE_WAIT,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    LAST_ACK,
    LISTEN,
    NO_HOLDER,
    STATE_NAMES,
    SYN_RECV,
    SYN_SENT,
    TIME_WAIT,
    UNSEEN_HOLDER,
    Batch,
    HalfClosed,
    Key,
    Kind,
    Listener,
    Rows,
    Socket,
)
from .tables import (
    entries_at_most,
)

__all__ = [
    "CLOSE",
    "CLOSE_WAIT",
    "CLOSING",
    "ESTABLISHED",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "LAST_ACK",
    "LISTEN",
    "NO_HOLDER",
    "STATE_NAMES",
    "SYN_RECV",
    "SYN_SENT",
    "TIME_WAIT",
    "UNKNOWN_PROCESS",
    "UNSEEN_HOLDER",
    "Attribution",
    "Batch",
    "Cause",
    "ClassifiedCloseWait",
    "Descriptors",
    "Direction",
    "EphemeralRange",
    "Group",
    "HalfClosed",
    "KernelCounters",
    "Key",
    "Kind",
    "Limits",
    "Listener",
    "Owner",
    "Path",
    "Process",
    "ProcessId",
    "Rows",
    "Socket",
    "Unowned",
    "entries_at_most",
    "made_from",
]
