"""Sentences on dead file descriptors (see model/dead_fds.py): what is known of them, and what is not."""

from __future__ import annotations

from .formatting import format_duration, paragraph, plural
from .leaks import DeadFds


def describe(dead: DeadFds, *, further: bool) -> str:
    """Return the sentences on dead file descriptors; empty if there are none.

    further: whether other file descriptors have been described before.
    """
    if not dead.count:
        return ""
    descriptors = plural(dead.count, "further file descriptor" if further else "file descriptor")
    are = "is dead: a TCP socket" if dead.count == 1 else "are dead: TCP sockets"
    first = f"{descriptors} {are} without a connection, in no kernel table."
    return " ".join(filter(None, (first, _describe_lost(dead), _describe_unobserved(dead))))


def _describe_lost(dead: DeadFds) -> str:
    if not dead.lost_count:
        return ""
    if dead.lost_count == dead.count:
        subject, verb = ("It", "was") if dead.count == 1 else ("They", "were")
    else:
        subject, verb = f"{dead.lost_count:,} of them", "was" if dead.lost_count == 1 else "were"
    oldest, age = dead.oldest_lost_seconds or 0.0, ""
    if oldest >= 1:
        which = "it" if dead.lost_count == 1 else "the oldest"
        age = f"; {which} has been dead for at least {format_duration(oldest)}"
    return paragraph(f"""
        {subject} {verb} connected before: a reset or a timeout has removed the connection, and the program
        has not called close(){age}.
    """)


def _describe_unobserved(dead: DeadFds) -> str:
    count = dead.count - dead.lost_count
    if not count:
        return ""
    if count == dead.count:
        subject = "It" if count == 1 else "Each"
    else:
        subject = "The other one" if count == 1 else "Each other one"
    return paragraph(f"""
        {subject} lost its connection before the exporter observed it, was never connected,
        or belongs to another network namespace.
    """)
