"""Prometheus exporter of TCP sockets by state, process and remote port."""

__version__ = "0.1.0"
