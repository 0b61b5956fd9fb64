"""Plain values that all other packages share. Imports none of them, and does no I/O."""
