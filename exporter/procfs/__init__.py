"""Limits, counters, processes and file descriptors, from Linux' /proc."""
