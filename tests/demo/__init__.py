"""Exporter, Prometheus and Alertmanager with misbehaving programs: `make demo`, also used by tests."""
