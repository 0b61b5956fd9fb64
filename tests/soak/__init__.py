"""Watches the exporter for minutes while sockets and processes come and go (`make soak`)."""
