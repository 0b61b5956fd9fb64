"""Sockets, processes and limits from psutil and the Windows registry, on systems without netlink."""
