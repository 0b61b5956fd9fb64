"""Diagnosis of a snapshot: findings with advice, as text, JSON and HTML. Pure: does no I/O."""
