"""Pure functions on plain values: naming, sides, counting, folding."""
