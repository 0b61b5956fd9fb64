"""Named tuples that are made without a Python call."""

from __future__ import annotations

from exporter.model.sockets import Listener, fast_maker


def test_fast_maker_makes_the_same_as_the_class() -> None:
    fields = (b"\x7f\0\0\1", 80, 777, 3, 128)
    listener = fast_maker(Listener)(fields)
    assert type(listener) is Listener
    assert listener == Listener._make(fields)
    assert (listener.local_port, listener.owner_key) == (80, 777)
