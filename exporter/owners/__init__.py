"""Owner resolution: the process that owns a socket."""
