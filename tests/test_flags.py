"""The defaults of the command-line flags that users and other programs rely on."""

from __future__ import annotations

from exporter.flags import DEFAULT_ADDRESS, build_parser


def test_default_address_and_path() -> None:
    assert DEFAULT_ADDRESS == ":10066"
    assert build_parser().parse_args([]).telemetry_path == "/metrics"
