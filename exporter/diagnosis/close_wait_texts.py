"""Titles and details of the findings on CLOSE_WAIT, by cause."""

from __future__ import annotations

from typing import assert_never

from ..model.close_wait import Cause
from ..model.groups import Direction
from . import dead_fd_texts
from .formatting import format_duration, format_range, paragraph, plural
from .leaks import FdLimit, Leak, LeakKey, takes_descriptor


def title_predicate(leak: Leak) -> str:
    """Return the predicate of the title."""
    key, count = leak.key, leak.count
    connections, closed = plural(count, "connection"), f"{_peers(key.direction, count)} closed"
    dead = plural(leak.dead.count, "dead file descriptor") if leak.dead.count else ""
    and_has = f", and has {dead}" if dead else ""
    match key.cause:
        case Cause.NOT_ACCEPTED:
            return f"does not accept connections: {plural(count, 'client')} gave up waiting"
        case Cause.NOT_READ:
            return f"has not noticed that {closed} {connections}{and_has}"
        case Cause.NOT_CLOSED:
            return f"keeps {connections} open that {closed}{and_has}"
        case Cause.SENDING:
            return f"still sends on {connections} that {closed}"
        case Cause.UNKNOWN:
            # With the port, which tells the findings of a process apart: they all have this cause.
            return f"has {connections} that {_peers_at_port(key, count)} closed{_opened(leak)}{and_has}"
        case _:
            assert_never(key.cause)


def exhaustion_predicate(limit: FdLimit) -> str:
    """Return the predicate of the title for a process whose descriptors the connections take."""
    usage, count, dead = limit.usage, limit.close_wait, limit.dead
    shares = []
    if count:
        verb, noun = ("is a", "connection") if count == 1 else ("are", "connections")
        shares.append(
            f"{count:,} of {usage.used:,} {verb} {noun} that {_peers(limit.direction, count)} closed"
        )
    if dead:
        of = "" if count else f" of {usage.used:,}"
        shares.append(f"{dead:,}{of} {'is' if dead == 1 else 'are'} dead")
    running = "" if limit.is_reached else "running "
    return f"is {running}out of file descriptors: {', and '.join(shares)}"


def _peers(direction: Direction, count: int) -> str:
    """Return the noun for the peers of these connections, and its auxiliary verb."""
    match direction:
        case Direction.INBOUND:
            return "its client has" if count == 1 else "its clients have"
        case Direction.OUTBOUND:
            return "the server has" if count == 1 else "the servers have"
        case Direction.NONE:
            return "the peer has" if count == 1 else "the peers have"
        case _:
            assert_never(direction)


def _peers_at_port(key: LeakKey, count: int) -> str:
    """Return the same as _peers(), with the port."""
    has = "has" if count == 1 else "have"
    match key.direction:
        case Direction.INBOUND:
            return f"its client{'' if count == 1 else 's'} on port {key.port} {has}"
        case Direction.OUTBOUND:
            return f"the server{'' if count == 1 else 's'} it called on port {key.port} {has}"
        case Direction.NONE:
            return f"the peer{'' if count == 1 else 's'} on its port {key.port} {has}"
        case _:
            assert_never(key.direction)


def _opened(leak: Leak) -> str:
    """Return when the first connection was opened; empty if that is unknown or says nothing."""
    seconds = leak.opened_seconds
    if seconds is None or seconds < 1:
        return ""
    return f", opened {'' if leak.count == 1 else 'up to '}{format_duration(seconds)} ago"


def detail(leak: Leak, *, is_headline: bool, master: str, windows: bool) -> str:
    """Return the detail.

    is_headline: whether the title is that of exhaustion_predicate(). master: sentence on a master process and
    its workers, or empty.
    """
    limit = limit_consequence(leak.limit) if is_headline and leak.limit else ""
    return paragraph(f"""
        {limit} {plural(leak.count, "connection")} {_location(leak.key)} {_state(leak)}.
        {_meaning(leak.key.cause, windows=windows)} {_upper_bound(leak)} {_keepalive(leak)}
        {_others(leak, is_headline=is_headline)}
        {dead_fd_texts.describe(leak.dead, further=True)} {_guess(leak, is_headline=is_headline)}
        {_consequence(leak, windows=windows)} {master}
    """)


def limit_consequence(limit: FdLimit) -> str:
    """Return the sentence on a process without file descriptors."""
    when = "It" if limit.is_reached else "When none is left, it"
    return f"{when} can neither accept nor open connections, and logs `Too many open files`."


def _others(leak: Leak, *, is_headline: bool) -> str:
    """Return the sentence on connections of the same process that this finding is not about."""
    if is_headline and leak.limit:
        own = sum(member.count for member in leak.members if member.owner == leak.limit.owner)
        count, difference = leak.limit.close_wait - own, "port or cause"
    else:
        count, difference = sum(member.count for member in leak.other_causes), "cause"
    if count <= 0:
        return ""
    has = "has" if count == 1 else "have"
    return f"{plural(count, 'further connection')} in CLOSE_WAIT {has} another {difference}."


def _state(leak: Leak) -> str:
    """Return the state and the age. With keepalive the age is between two bounds."""
    age, at_most = leak.oldest_seconds, leak.oldest_at_most_seconds
    if age is None:
        return f"{'is' if leak.count == 1 else 'are'} in CLOSE_WAIT"
    text = format_duration(age) if at_most is None else format_range(age, at_most)
    if leak.opened_seconds is not None and age >= 1:
        text = f"at least {text}"
    if leak.count == 1:
        return f"has been in CLOSE_WAIT for {text}"
    return f"are in CLOSE_WAIT, the oldest for {text}"


def _location(key: LeakKey) -> str:
    match key.direction:
        case Direction.INBOUND:
            return f"to its port {key.port}"
        case Direction.OUTBOUND:
            return f"that it opened to port {key.port}"
        case Direction.NONE:
            return f"on its port {key.port}"
        case _:
            assert_never(key.direction)


def _meaning(cause: Cause, *, windows: bool) -> str:
    """Return what the peer has done, what the program has not done, and whether it knows."""
    match cause:
        case Cause.NOT_ACCEPTED:
            return "The client has closed its side; the program has not even called accept()."
        case Cause.NOT_READ:
            return "The peer has closed its side; the program has not read that far and does not know it."
        case Cause.NOT_CLOSED:
            return paragraph("""
                The peer has closed its side; the program has read everything and has not called close(). A
                request that the program still computes looks the same.
            """)
        case Cause.SENDING:
            return paragraph("""
                The peer has closed its side; the program is still sending: the peer has not acknowledged
                everything, or data was sent in the last minutes. This is not a leak by itself: a connection
                may be closed in one direction and in use in the other.
            """)
        case Cause.UNKNOWN if windows:
            # That Windows cannot tell whether it has noticed is a blind spot, and the first step.
            return "The peer has closed its side; the program has not."
        case Cause.UNKNOWN:
            return paragraph("""
                The peer has closed its side; the program has not called close(). This source cannot tell
                whether it has noticed.
            """)
        case _:
            assert_never(cause)


def _upper_bound(leak: Leak) -> str:
    """Return the sentence on the time since the connections were opened."""
    seconds = leak.opened_seconds
    if seconds is None:
        return ""
    first, none = ("The connection", "it has not") if leak.count == 1 else ("The first of them", "none has")
    return f"{first} was opened {format_duration(seconds)} ago: {none} been in this state for longer."


def _keepalive(leak: Leak) -> str:
    if leak.oldest_at_most_seconds is None or leak.key.cause is Cause.SENDING:
        return ""
    return paragraph("""
        Keepalive is on: each answered probe makes a connection look younger, so that only bounds of its age
        are known. A probe answered by a reset takes it out of CLOSE_WAIT and leaves its file descriptor open.
    """)


def _guess(leak: Leak, *, is_headline: bool) -> str:
    """Return the sentence on dead file descriptors whose connections were not observed."""
    if leak.dead.lost_count == leak.dead.count:
        return ""
    is_likely = is_headline or leak.oldest_at_most_seconds is not None
    return "Probably they belong to the same leak." if is_likely else ""


def _consequence(leak: Leak, *, windows: bool) -> str:
    subject = "It" if leak.count + leak.dead.count == 1 else "Each"
    if takes_descriptor(leak.key.cause):
        taken = "file descriptor"
        if windows:
            # Handles have no limit: outbound connections run out of ports first.
            taken = "handle and a port" if leak.key.direction is Direction.OUTBOUND else "handle"
        return f"{subject} takes a {taken} until the program closes it."
    return f"{subject} takes a place in the accept queue until the program accepts it."
