"""Collections: reads sources, resolves owners, counts, and returns a Snapshot."""
