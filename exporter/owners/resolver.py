"""Who holds a socket: what is asked of those who know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable
from typing import Final, Protocol

from ..model.process import Owner, Process, ProcessId, Unowned
from ..model.sockets import NO_OWNER_KEY


class Live(Protocol):
    """The holders of all sockets there are now."""

    def all(self) -> set[int]:
        """All of them. Dear, so asked for only when needed; not to be changed."""


class Owners(Protocol):
    """Knows the processes behind the holders of sockets."""

    @property
    def unreadable(self) -> Counter[str]:
        """Processes that could not be read at the last look, by reason."""

    @property
    def not_found_because(self) -> str:
        """Why a holder has no process, most likely: a reason of socket_exporter_unowned_sockets."""

    def refresh(self) -> set[Owner]:
        """Owners of whom something was said that may be true no longer; call before each reading."""

    def doubt(self, owner_keys: Iterable[int]) -> None:
        """These hold sockets that were not there before: what was known of them may be of earlier ones."""

    def resolve(self, owner_keys: Collection[int], live: Live) -> None:
        """Looks for the processes behind these holders. Raises OSError where there is no /proc."""

    @property
    def owner_of(self) -> Callable[[int], Owner]:
        """Gives the process behind a holder, as far as resolve() found it; RELEASED for NO_HOLDER."""

    def process(self, owner: ProcessId) -> Process:
        """The facts of an owner."""

    def is_alive(self, owner: ProcessId) -> bool:
        """Whether the owner lived at the last refresh: its pid may be somebody else's by now."""

    def tell(self, *, details: bool) -> None:
        """Whether more facts than the comm are wanted from now on."""

    def keep(self, used: Container[object]) -> None:
        """Drops the facts of dead owners that are not among the used."""


class NoOwners:
    """Knows nobody: for those who do not want processes looked at."""

    unreadable: Final[Counter[str]] = Counter()
    not_found_because = "disabled"

    def refresh(self) -> set[Owner]:
        return set()

    def doubt(self, owner_keys: Iterable[int]) -> None:
        pass

    def resolve(self, owner_keys: Collection[int], live: Live) -> None:
        pass

    def owner_of(self, owner_key: int) -> Owner:
        return Unowned.RELEASED if owner_key == NO_OWNER_KEY else Unowned.NOT_FOUND

    def process(self, owner: ProcessId) -> Process:
        raise KeyError(owner)

    def is_alive(self, owner: ProcessId) -> bool:  # noqa: ARG002  # the protocol's
        return False

    def tell(self, *, details: bool) -> None:
        pass

    def keep(self, used: Container[object]) -> None:
        pass


def reason_of(failure: OSError) -> str:
    """The kind of failure, for a label."""
    if isinstance(failure, PermissionError):
        return "permission"
    if isinstance(failure, FileNotFoundError | ProcessLookupError):
        return "vanished"
    return "error"
