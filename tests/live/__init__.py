"""Tests on a real kernel, in network namespaces of their own."""
