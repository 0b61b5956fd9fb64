"""Metrics: from a snapshot of the host to Prometheus metric families and their text."""
