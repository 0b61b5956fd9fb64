"""Generates the man page and the completions of three shells from the flags: `make golden`."""
