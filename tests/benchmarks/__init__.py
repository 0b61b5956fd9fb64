"""Compares the cost of reading sockets with other programs: `make bench`."""
