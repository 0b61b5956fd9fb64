"""Checks the exporter for minutes while sockets and processes change (`make soak`)."""
