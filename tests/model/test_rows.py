"""Named tuples made without a call in Python."""

from __future__ import annotations

from exporter.model import Listener, made_from


def test_it_is_what_the_kind_makes_itself() -> None:
    fields = (b"\x7f\0\0\1", 80, 777, 3, 128)
    one = made_from(Listener)(fields)
    assert type(one) is Listener
    assert one == Listener._make(fields)
    assert (one.local_port, one.holder) == (80, 777)
