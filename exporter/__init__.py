"""A Prometheus exporter of TCP sockets: in which state, whose, towards which port, and why."""

__version__ = "0.1.0"
