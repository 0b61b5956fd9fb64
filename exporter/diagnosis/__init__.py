"""Diagnosis of a snapshot: a report of findings with advice. Pure: does no I/O."""
