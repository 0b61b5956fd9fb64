"""Limits, counters, processes and file descriptors from Linux's /proc."""
