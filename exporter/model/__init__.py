"""Plain values that all other packages share. The package imports none of them and does no I/O."""
