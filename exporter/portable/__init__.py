"""Sockets, processes and limits through psutil and the Windows registry, on systems without netlink."""
