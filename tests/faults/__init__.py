"""Real faults of the host: output of a running exporter during and after them."""
