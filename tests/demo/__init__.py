"""Exporter, Prometheus and Alertmanager beside programs that misbehave: `make demo`, and for tests."""
