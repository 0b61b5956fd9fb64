"""The configuration file: YAML -> one frozen value, or an error that names the place in the file."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Final

import msgspec

from .analysis.naming import Namer, NameRule, RuleError, compile_rules
from .settings_file import ConfigError, decode, read

LEAST_SERIES: Final = 50
"""Each of the eleven states keeps one series that the rest of it folds into (see fold). With eleven,
every answer would be `other`; this leaves each state a few that are still told apart."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """What the configuration file says. Without a file: `Config()`."""

    process_names: tuple[NameRule, ...] = ()
    max_remote_ports: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 50
    """Remote ports shown by number, the rest being `other`; 0 shows none."""
    max_processes: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 100
    """Processes shown by name, the rest being `other`; 0 shows none."""
    max_series: Annotated[int, msgspec.Meta(ge=LEAST_SERIES, le=100_000)] = 2000
    """Series of one family in all."""

    @cached_property
    def namer(self) -> Namer:
        """Names processes by `process_names`. Raises RuleError (parse and load have made sure)."""
        return compile_rules(self.process_names)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but unwise, each as `PLACE: PROBLEM`."""
        return tuple(f"process_names{warning}" for warning in self.namer.warnings)


def load(path: str) -> Config:
    """The configuration in the file at `path`. Raises ConfigError."""
    return parse(read(path), path)


def parse(text: str, filename: str) -> Config:
    """The configuration in `text`, of a file named `filename`. Raises ConfigError."""
    config = decode(text, filename, Config)
    try:
        config.namer  # noqa: B018 - compiled here, so that a rule's error is found at start
    except RuleError as error:
        raise ConfigError(f"{filename}: process_names{error}") from None
    return config
