"""Interface of owner resolution: from the owner key of a socket to its process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from ..model.process import Owner, Process, ProcessId, Unowned
from ..model.sockets import NO_OWNER_KEY


class LiveOwnerKeys(Protocol):
    """Owner keys of all sockets of the current collection."""

    def all(self) -> set[int]:
        """Return the owner keys as a set, which must not be changed. Expensive: called only if needed."""


class OwnerResolver(Protocol):
    """Finds the process for each owner key of a socket."""

    @property
    def unreadable_processes(self) -> Counter[str]:
        """Number of processes that were not readable in the last search, by reason."""

    @property
    def unresolved_reason(self) -> str:
        """Most likely reason why an owner key has no process: a value of the label `reason`."""

    @property
    def transferred(self) -> Mapping[int, ProcessId]:
        """Single sockets that must be re-resolved: owner key -> process.

        The process has released the socket, or has been found to hold it after it had been unresolved.
        Valid after refresh(). The sockets may have been closed.
        """

    def refresh(self) -> set[Owner]:
        """Return owners all of whose sockets must be re-resolved.

        Must be called before each collection reads sockets.
        """

    def revalidate(self, owner_keys: Iterable[int]) -> None:
        """Re-check cached owners of these keys: their sockets are new, and inodes and pids are reused."""

    def resolve(self, owner_keys: Collection[int], live: LiveOwnerKeys) -> None:
        """Search for the processes of these owner keys. Raises OSError if there is no /proc."""

    @property
    def owner_of(self) -> Callable[[int], Owner]:
        """Function: owner key -> owner; NOT_FOUND if it is not resolved, RELEASED for NO_OWNER_KEY."""

    def process(self, owner: ProcessId) -> Process:
        """Return the attributes of an owner."""

    def is_alive(self, owner: ProcessId) -> bool:
        """Return whether the owner existed at the last refresh(); another process may have its pid now."""

    def set_details(self, *, details: bool) -> None:
        """Set whether more attributes than the comm are read from now on."""

    def retain(self, used: Container[object]) -> None:
        """Drop the attributes of vanished owners that are not in `used`."""


class NullOwnerResolver:
    """Resolver that finds no process, used if owner resolution is disabled."""

    unreadable_processes: Final[Counter[str]] = Counter()
    unresolved_reason = "disabled"
    transferred: Final[Mapping[int, ProcessId]] = MappingProxyType({})

    def refresh(self) -> set[Owner]:
        return set()

    def revalidate(self, owner_keys: Iterable[int]) -> None:
        pass

    def resolve(self, owner_keys: Collection[int], live: LiveOwnerKeys) -> None:
        pass

    def owner_of(self, owner_key: int) -> Owner:
        return Unowned.RELEASED if owner_key == NO_OWNER_KEY else Unowned.NOT_FOUND

    def process(self, owner: ProcessId) -> Process:
        raise KeyError(owner)

    def is_alive(self, owner: ProcessId) -> bool:  # noqa: ARG002  # part of the interface
        return False

    def set_details(self, *, details: bool) -> None:
        pass

    def retain(self, used: Container[object]) -> None:
        pass


def failure_reason(error: OSError) -> str:
    """Return the reason why a process is not readable: a value of the label `reason`."""
    if isinstance(error, PermissionError):
        return "permission"
    if isinstance(error, FileNotFoundError | ProcessLookupError):
        return "vanished"
    return "error"
