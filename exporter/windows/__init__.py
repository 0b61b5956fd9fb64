"""Sockets, processes, services, limits and counters of Windows, through its own API (ctypes)."""
