"""One collection: sources, owners and tracking, put together into a Snapshot."""
