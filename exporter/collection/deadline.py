"""Waits for a function only as long as its result is useful."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

_T = TypeVar("_T")


def run_with_deadline(function: Callable[[], _T], seconds: float) -> _T:
    """Return the function's result, or raise its exception. Raises TimeoutError after `seconds`.

    The function then continues in a thread that does not keep the process from exiting: reading a file in
    /proc can block in the kernel for as long as another process does.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  # the future raises it
            future.set_exception(error)

    Thread(target=run, name="collection", daemon=True).start()
    return future.result(seconds)
