"""One thread that does one thing at a time, and that nobody waits for at the end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Does what it is given, in turn, in a thread of its own, which begins with the first piece.

    Not a ThreadPoolExecutor: that waits for its thread when the program ends, and a thread may hang in the
    kernel, which reads /proc for it, for as long as another process does.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: Thread | None = None
        self._pieces: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Gives what the work gives, or raises, when it is its turn. To be called in one thread only."""
        future: Future[T] = Future()

        def piece() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is for who waits for it
                future.set_exception(error)

        self._pieces.put(piece)
        if self._thread is None:
            self._thread = Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        return future

    def _run(self) -> None:
        while True:
            self._pieces.get()()
