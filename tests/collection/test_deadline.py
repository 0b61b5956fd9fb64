"""A function is waited for only until the deadline."""

from __future__ import annotations

import threading

import pytest

from exporter.collection.deadline import run_with_deadline


def test_result_and_exception_are_those_of_the_function() -> None:
    assert run_with_deadline(lambda: 3, 10.0) == 3
    with pytest.raises(ZeroDivisionError):
        run_with_deadline(lambda: 1 // 0, 10.0)


def test_times_out_while_the_function_hangs() -> None:
    released = threading.Event()
    with pytest.raises(TimeoutError):
        run_with_deadline(released.wait, 0.01)
    released.set()
