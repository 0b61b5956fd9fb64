"""Rendering of a report as text, JSON and HTML. Pure: does no I/O."""
