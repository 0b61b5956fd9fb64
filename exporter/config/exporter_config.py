"""Configuration file of --config.file: process names and series limits."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Final

import msgspec

from ..naming.rules import Namer, NameRule, RuleError, compile_rules
from .strict_yaml import ConfigError, parse_config, read_text

MIN_SERIES: Final = 50
"""Lowest valid `max_series`. Each of the eleven TCP states needs one series for what is aggregated; with 50
series each state also keeps a few that are not."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Content of the configuration file. Without a file: `Config()`."""

    process_names: tuple[NameRule, ...] = ()
    max_remote_ports: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 50
    """Maximum number of remote ports with series of their own; the others are aggregated into `other`."""
    max_processes: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 100
    """Maximum number of processes with series of their own; the others are aggregated into `other`."""
    max_series: Annotated[int, msgspec.Meta(ge=MIN_SERIES, le=100_000)] = 2000
    """Maximum number of series of one metric family."""

    @cached_property
    def namer(self) -> Namer:
        """Namer of processes by `process_names`. Raises RuleError, but not for a parsed file."""
        return compile_rules(self.process_names)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Settings that are allowed but unwise, each as `PLACE: PROBLEM`."""
        return tuple(f"process_names{warning}" for warning in self.namer.warnings)


def load_exporter_config(path: str) -> Config:
    """Return the configuration in the file at `path`. Raises ConfigError."""
    try:
        return parse_exporter_config(read_text(path), path)
    except ImportError as error:
        # Such as a DLL of Windows that google-re2 needs and this host lacks.
        raise ConfigError(f"{path}: cannot load {error.name}: {error}") from None


def parse_exporter_config(text: str, filename: str) -> Config:
    """Return the configuration in `text`, of a file named `filename`. Raises ConfigError."""
    config = parse_config(text, filename, Config)
    try:
        config.namer  # noqa: B018  # compiled here, so that an error in a rule is reported at startup
    except RuleError as error:
        raise ConfigError(f"{filename}: process_names{error}") from None
    return config
