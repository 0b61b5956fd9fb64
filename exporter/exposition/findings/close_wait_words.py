"""What is said of CLOSE_WAIT, by cause, to somebody who meets it for the first time."""

from __future__ import annotations

from typing import Final, assert_never

from ...model.close_wait import Cause
from .accept_queues import causes
from .finding import Who
from .words import duration, it, paragraphs, plural, subject

_IDLE: Final = paragraphs("""
    If it works well, these may be idle connections in its pool, which the server has ended: few of them do no
    harm. Let the pool check them before use, and drop idle ones sooner than the server does.
""")
_BLOCKED: Final = paragraphs("""
    Usual causes: workers that wait for a disk, a lock or another service, so that none is left to read.
""")


def title(cause: Cause, who: Who, count: int, *, outbound: bool) -> str:
    """One line: who does not do what."""
    closer = "the servers it called" if outbound else "its clients"
    connections = plural(count, "connection")
    match cause:
        case Cause.NOT_ACCEPTED:
            problem = f"does not accept connections: {plural(count, 'caller')} gave up waiting"
        case Cause.NOT_READ:
            problem = f"has not noticed that {closer} closed {connections}"
        case Cause.NOT_CLOSED:
            problem = f"keeps {connections} open that {closer} have closed"
        case Cause.SENDING:
            problem = f"still sends on {connections} that {closer} have closed"
        case Cause.UNKNOWN:
            problem = f"has {connections} that {closer} have closed"
        case _:
            assert_never(cause)
    return f"{subject(who)} {problem}"


def detail(cause: Cause, port: int, count: int, oldest: float | None, *, outbound: bool) -> str:
    """How many, since when, and what CLOSE_WAIT means here."""
    where = f"that it opened to port {port}" if outbound else f"to its port {port}"
    verb = "is" if count == 1 else "are"
    since = "" if oldest is None else f", {'' if count == 1 else 'the oldest '}for {duration(oldest)}"
    return f"{plural(count, 'connection')} {where} {verb} in CLOSE_WAIT{since}. {_meaning(cause)}"


def advice(cause: Cause, who: Who, pid: int | None, *, outbound: bool, windows: bool) -> tuple[str, ...]:
    """What to do, by cause."""
    name = it(who)
    match cause:
        case Cause.NOT_ACCEPTED:
            return causes(name)
        case Cause.NOT_READ:
            look_inside = _look_inside(name, pid, windows=windows)
            return (_IDLE + look_inside if outbound else look_inside + _BLOCKED) + _restart(name)
        case Cause.NOT_CLOSED:
            return _restart(name) + _missing_close(outbound=outbound)
        case Cause.SENDING:
            return paragraphs(f"""
                This is no leak by itself: a connection may be closed in one direction and busy in the other.

                If it lasts, the other side reads slowly or not at all. Give {name} a time limit for sending.
            """)
        case Cause.UNKNOWN:
            see = f"See whether {name} hangs (then it has not noticed) or works (then it forgets to close)."
            return see, *_restart(name)
        case _:
            assert_never(cause)


def _meaning(cause: Cause) -> str:
    """What the program has not done, and what it knows."""
    match cause:
        case Cause.NOT_ACCEPTED:
            return "The callers have closed before the program took their connections."
        case Cause.NOT_READ:
            return "The other side has closed; the program has not read so far, and does not know yet."
        case Cause.NOT_CLOSED:
            return "The other side has closed; the program has read that, and still keeps its own end open."
        case Cause.SENDING:
            return "The peer has closed its side; the program still sends, and not all of it is acknowledged."
        case Cause.UNKNOWN:
            return "The other side has closed, the program has not. Whether it knows cannot be told here."
        case _:
            assert_never(cause)


def _restart(name: str) -> tuple[str, ...]:
    return paragraphs(f"""
        Restarting {name} frees them at once. Nothing else does: no timeout ends CLOSE_WAIT, and no sysctl.
        They come again until the program is mended.
    """)


def _missing_close(*, outbound: bool) -> tuple[str, ...]:
    kept = "a response not closed or not read to its end" if outbound else "a connection kept in some table"
    return paragraphs(f"""
        To mend it, look for the path in the program that never calls `close()`: {kept}, an error that skips
        it, or a forked child that still holds the connection.
    """)


def _look_inside(name: str, pid: int | None, *, windows: bool) -> tuple[str, ...]:
    if windows:
        return (f"See what {name} waits for: Task Manager, Details, Analyze wait chain; or `procdump -ma`.",)
    number = "PID" if pid is None else str(pid)
    return paragraphs(f"""
        See what {name} waits for, thread by thread: `jstack {number}` (Java), `py-spy dump --pid {number}`
        (Python), `gdb -p {number}` (others).
    """)
