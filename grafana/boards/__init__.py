"""The four boards."""
