"""Named tuples made without a call in Python."""

from __future__ import annotations

from exporter.model.sockets import Listener, fast_maker


def test_it_is_what_the_kind_makes_itself() -> None:
    fields = (b"\x7f\0\0\1", 80, 777, 3, 128)
    one = fast_maker(Listener)(fields)
    assert type(one) is Listener
    assert one == Listener._make(fields)
    assert (one.local_port, one.owner_key) == (80, 777)
